// Package rules says what a dataplane's tables hold: which rules, sets and objects make the kernel isolate, meter and classify
// as package isolation, quota and shaping have it. It is pure: configuration and plan in, package nft's data out. Package
// kernel carries it out.
//
// # A packet's way
//
// Upload: the netdev hook of the tunnel's interface looks the source address up, drops what is no peer's, and sends what has a
// class to the IFB, whose HTB shapes it. Then, in the hooks forward (to elsewhere) or input (to the host): what conntrack does
// not know is dropped; the flow is judged; the caps are asked; the counters count.
//
// Download: in the hooks forward or output the flow is judged, the caps are asked, the counters count, and the packet gets its
// class, which the HTB of the tunnel's interface reads.
//
// # Judging flows
//
// Rules of a policy speak of flows. Each packet is judged by the first packet of its flow, which conntrack remembers: by the
// original source, destination, protocol and port, whichever way the packet goes, and by those of the flow that an ICMP error
// quotes. So what a policy withdraws stops at the next packet, both ways, and answers need no rule.
//
// # Work for a packet
//
// All that depends on peers is in hash sets and maps keyed by address: their number costs nothing. The closed ranges are two
// interval sets. Rules of the policy are asked in turn, those that deny always, those that allow only for what is closed.
package rules
