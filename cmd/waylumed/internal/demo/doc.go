// Package demo shows a node at work, measured from outside: a real node with the userspace dataplane on a UDP socket, stock
// WireGuard clients that connect to it over the loopback, and servers on the loopback that stand for the internet.
//
// What is measured is measured where the node has no say: inner IP packets are counted at the clients' TUN devices, bytes
// of applications at the clients and at the servers. What is refused is proven refused: the packet left the client, the
// target listens and answers others, and neither it nor the node's dialer was asked for anything.
//
// Run does everything and returns a Report, which marshals as JSON with names that stay, and which Report.Write shows as
// tables. It needs no privilege, no file and no network but the loopback, keeps no globals, and joins what it starts.
package demo
