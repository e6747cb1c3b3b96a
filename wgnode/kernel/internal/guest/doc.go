// Package guest lets the packets of one tunnel pass beside other firewalls on the same host: Docker's, ufw's, firewalld's, a
// user's own. In nftables a packet passes only where every base chain of a hook lets it, so that no rule in a table of our own
// helps against a chain of another's that drops by default. [Ensure] therefore puts rules of ours there, and [Remove] takes
// them away; nothing else of a foreign table is ever changed.
//
// # Where a chain turns closed
//
// Only what is dropped by default is opened: what the chain's owner has refused in so many words stays refused. A base chain
// of the kind filter at the hooks forward and input ends closed when its policy is drop, or when packets come to a rule that
// drops or rejects all. Our rules go just before that place, however deep it lies in chains that are jumped to without a
// condition, as firewalld has them, if nothing else leads there; else before the jump. Rules that refuse without saying whom,
// such as a TCP reset for all of TCP or a refusal at a limited rate, belong to the default and come after ours.
//
// # What is ours
//
// A rule of ours has the comment "waylume", the tunnel's interface, and a fingerprint; it is known by that, also when
// iptables-save and iptables-restore have carried it. Rules of several tunnels stand side by side.
//
// # Out of reach
//
// A table that a process owns (firewalld 2 by default) can be changed by nobody else: [Locked] names it. The rules of
// iptables-legacy are not in nftables: [Legacy] says whether there are any. Both must be opened by their owner.
package guest
