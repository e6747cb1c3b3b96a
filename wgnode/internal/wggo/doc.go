// Package wggo runs wireguard-go, for the dataplanes that encrypt in this process: typed values in place of the text of its
// configuration protocol, and, while a node's key is rotated, two of its devices on one UDP port and one TUN.
//
//	d, err := wggo.New(tunnel, wggo.Config{PrivateKey: key, ListenPort: 51820})
//	...
//	err = d.Set(ctx, nil, peers)
//	port, err := d.Up()
//	...
//	err = d.SetKeys(ctx, next, key, peers) // peers of either key connect, and those that are connected stay so
//	...
//	err = d.SetKeys(ctx, next, wgtypes.Key{}, peers) // and now those of the next key alone
//	...
//	d.Close()
//
// New starts goroutines, which Close joins; Up opens the UDP socket. It needs no privilege but for a firewall mark.
//
// # Two keys
//
// There is a device for each key. A message goes to the device that it is for, a packet for a peer to the device by which the peer
// was heard from last: each peer's keys, addresses and counters are the same whichever it uses, and it may go to and fro. While
// there is one key no packet is looked at.
//
// The second device takes memory and a computation for each peer, as the first did; meanwhile the first goes on. When the former
// key goes, the port is closed and opened anew for the other device: messages that come in the fraction of a millisecond between
// are lost, those that are sent wait. If another program takes the port in that moment, and keeps it for 2 s, the device fails.
//
// # Source addresses
//
// wireguard-go remembers to which address of the host a peer has sent, to answer from there, and watches the system's routes to
// forget it when another way is better. Nothing is remembered where the system merges datagrams (UDP GRO, Linux 5.0 and newer):
// there the system chooses the address, and always did (conn, splitCoalescedMessages). Elsewhere the watch does not run, but when
// the system refuses to send from that address, one is chosen by the system; as long as it does not refuse, the address is kept
// until the peer is heard from, or a handshake is due.
package wggo
