// Package isolation decides which packets of a VPN's peers may pass: who may reach whom, the host, its network and the
// internet. A [Policy] is data; [Compile] makes a [Plan] of it, which is pure; a [Filter] executes the plan on packets.
//
//	plan, err := isolation.Compile(policy, hostAddrs, poolPrefixes)
//	...
//	filter := isolation.NewFilter(isolation.Config{})
//	filter.SetPlan(plan)
//	member, err := filter.SetSubject(isolation.Subject{ID: "alice", Account: "a", Addrs: addrs})
//	...
//	if verdict := filter.CheckPacket(member, raw); !verdict.Allow {
//		count(verdict.Reason)
//	}
//
// It needs no privilege, starts nothing, and works on any system.
//
// # The default
//
// With the zero policy a peer reaches the internet and nothing else. Closed are, in both families:
//
//   - other peers, and addresses of the pool that no peer holds;
//   - the host: loopback, and the addresses given to Compile;
//   - private, link-local, shared (CGNAT), multicast, broadcast and reserved ranges, by the IANA special-purpose address
//     registries (RFC 6890, RFC 8190), 198.18.0.0/15 for benchmarks among them; in IPv6 all that is not global unicast
//     (2000::/3);
//   - the metadata services of cloud providers, one of which has a public address;
//   - TCP port 25, at any address.
//
// The documentation ranges (192.0.2.0/24, 198.51.100.0/24, 203.0.113.0/24, 2001:db8::/32, 3fff::/20) are open on purpose:
// they route nowhere, and stand for the internet in tests and demonstrations.
//
// # Rules
//
// A rule matches flows by the peer that begins them, where they go, protocol and port. A Deny rule beats every Allow rule,
// an Allow rule beats the default closures, and the order of rules means nothing. Only peers begin flows: no rule lets
// the outside in. Rules speak of flows, so answers pass with what they answer, whatever a rule says about the way back.
//
// # Addresses in disguise
//
// An IPv6 address can carry an IPv4 one to which something on the way would deliver, and so lead around a rule. Refused
// whatever the rules say ([ReasonEmbedded]) are the forms that have no honest use any more or belong to one site alone:
// IPv4-mapped and IPv4-compatible (RFC 4291), IPv4-translated (RFC 2765), 6to4 (RFC 3056, withdrawn by RFC 7526), Teredo
// (RFC 4380), local NAT64 (64:ff9b:1::/48, RFC 8215) and ISATAP (RFC 5214; see [IsISATAP]). Addresses of the well-known
// NAT64 prefix 64:ff9b::/96 (RFC 6052) are judged by the address inside: open where it is, matched by the rules with
// prefixes that match it, and refused whatever the rules say where the default closes it. A prefix that a network chose
// for a NAT64 of its own cannot be told from any other: deny it by a rule if the host's network has one. 0.0.0.0/8 is
// refused too, as a connection to 0.0.0.0 is one to loopback.
//
// # State
//
// Between peers an answer passes if its flow was seen and would pass now: the filter remembers who began which flow,
// never that it may go on, and so what a policy withdraws stops at the next packet. A TCP SYN or an echo request is never
// an answer. A member's flows are bounded and time out ([Config]); what a hostile peer can push out is its own.
//
// For what comes from outside nothing is remembered. It passes if the flow that it would answer is allowed and it cannot
// itself begin one; that such a flow exists is for the address translation or the sockets behind the filter to know.
//
// ICMP errors (unreachable, too big, time exceeded, parameter problem) are judged first by the packet they quote: one
// about a flow that passes does too, whatever a rule says about ICMP, since paths need them. One that is not is judged as
// any other ICMP packet.
//
// # Fragments
//
// A later fragment has no ports. The filter remembers what the first fragment of a packet said if it passed, and judges
// those that follow as if they said the same. One whose first fragment is not known passes only if no port could change
// that: where no Deny rule with ports might match, and either an Allow rule without ports does or the destination is open
// and the protocol not TCP, of which port 25 is closed.
package isolation
