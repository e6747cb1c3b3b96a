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
// # Peers that are not connected
//
// A peer is in wireguard-go, where it takes 25 KB and two goroutines, from its handshake on, until it was not heard from for nine
// minutes; then its session has been over for six. At most 60,000 are at a time. What has come of it is remembered, and it is
// reached again at its last address when there is something to send.
//
// # Memory
//
// However busy its peers are, what a node has resident has a bound: about 40 MB for the program, and twice the sum of
//
//   - buffers of messages inside WireGuard: 64 KiB x (768 + 256 for each processor, of which two are counted at least), so 80 MiB on
//     two; as much again while there are two keys. When they are in use, what comes waits in the system's socket, and what is to be
//     sent in the shaper and in TCP;
//   - 100 KiB for each peer that is in wireguard-go;
//   - what connections have in their buffers: 1 MiB or less and 64 KiB on the way for each, where the host's side is faster than the
//     peer, and as much where the peer is faster; no more for one peer than Limits.TCPMemory and Limits.DatagramMemory;
//   - what waits for the speed limits of peers, 64 MiB or less in each direction.
//
// Twice, as the garbage collector lets the heap grow to that (GOGC=100). So on two processors one busy peer with 8 connections has
// 227 MB or less, and was seen with 94. 100 peers with a download each have 453 MB or less, and were seen with 220, most of it in
// TCP's buffers: with a TCPMemory of 4 MiB, which gives a peer's first connection 205 KiB, they have 285 MB or less, and were seen
// with 115. Within five minutes after the load is over the collector has given back what nobody uses.
//
// Not in it: up to 1,024 messages of handshakes that wait in a flood of them, and packets for a peer that answers no handshake, of
// which WireGuard keeps the last 128 batches for 90 s: a batch is one packet when little is sent. Each takes 64 KiB.
//
// # Keys
//
// While the node's key is rotated there is a WireGuard device for each of its two keys, on the one port: see
// wgnode.KeyChanger. The second begins within milliseconds, whatever the number of peers; a peer that uses it takes 25 KB there. When
// the former key goes, the port is opened anew: messages that arrive in that fraction of a millisecond are lost. Should another
// program take it in that moment and keep it for 2 s, the dataplane fails.
//
// # Life
//
// New touches nothing. The node calls Start, which opens the UDP socket and starts goroutines, and Close, which joins all
// of them. Its tests run on Linux; it builds for macOS and Windows, where nobody has run it yet.
package userspace
