// Package userspace is the dataplane that needs no privilege: wireguard-go, a packet path of our own and a gVisor network
// stack, all inside this process. Peers' connections leave as ordinary sockets of the host.
//
//	dp, err := userspace.New(userspace.Config{})
//	...
//	node, err := wgnode.New(wgnode.Config{Dataplane: dp})
//
// # What crosses, and how
//
// TCP: the host is dialled before the peer's handshake completes, so that a refused port is refused, an unreachable host
// is unreachable and a dead one times out. Half-closes and resets are carried over in both directions.
//
// UDP: one connected socket for each flow (address-and-port-dependent mapping and filtering in the words of RFC 4787),
// closed when idle. What the host's network says of a datagram (port unreachable, too big) reaches the peer as ICMP.
//
// ICMP and ICMPv6 echo: through unprivileged ping sockets where the system has them (on Linux the sysctl
// net.ipv4.ping_group_range). Elsewhere an echo request is dropped, and the node's status says so.
//
// Other protocols (SCTP, ESP, GRE) cannot leave without privilege: the peer gets protocol unreachable.
//
// The time to live is not decremented: the path inside the process is not a hop, and traceroute through it shows only
// the destination.
//
// # Bounds
//
// No peer can starve another: [Limits] bounds, for each peer, flows, new flows in a second, and the memory of TCP buffers.
//
// # Keys
//
// While the node's key is rotated there is a WireGuard device for each of its two keys, on the one port: see
// wgnode.KeyChanger. The second takes about 50 KB of memory for each peer, and half a millisecond of one core to make; what is
// connected goes on meanwhile, and changes to the peers wait. When the former key goes, the port is opened anew: messages that
// arrive in that fraction of a millisecond are lost. Should another program take it in that moment and keep it for 2 s, the
// dataplane fails.
//
// # Life
//
// New touches nothing. The node calls Start, which opens the UDP socket and starts goroutines, and Close, which joins all
// of them. Its tests run on Linux; it builds for macOS and Windows, where nobody has run it yet.
package userspace
