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
// # Registered and active
//
// A peer that is set is registered: about 220 bytes with an address of each family, and no computation. wireguard-go, where a peer
// takes 25 KB and two goroutines, is told of it when its handshake initiation comes. That is opened before the device gets it: the
// sender's key with the node's (WireGuard paper, section 5.4.2), then the timestamp with the secret that those two alone share, so that
// nothing is spent, and nothing remembered, for who is not what it says, or for an initiation of before. The timestamp of the last
// one outlives the peer's leaving. Then the peer enters, and the device takes the initiation and answers it. The first handshake
// takes two operations on the curve more than with wireguard-go alone, and every other one takes one more: a warm peer is opened
// like any other, as nobody else can say whose an initiation is.
//
// Who was not heard from for [Config.Idle] leaves. After 540 s wireguard-go itself has no key of a session left, so nothing is lost.
// A peer that the node keeps alive shakes hands every three minutes at least, and so stays as long as that succeeds; one that does not
// answer leaves, and is kept alive again when it comes back. What the device knew is kept, and Status tells of a peer as if it had
// never left. When something is to be sent to one that has left, it enters with its last endpoint, and WireGuard shakes hands from
// here; so that junk cannot fill the device, 500 at once and 5 a second can, and who does not answer leaves after 108 s. When
// [Config.MaxActive] are in, the one leaves that was idle the longest, of those not heard from for 180 s; if there is none, the
// initiation is dropped, counted and logged.
//
// # Floods
//
// The goroutines that read the port only look at a message's type and copy initiations to a queue of 1,024. As many workers as there
// are processors see to them. From an eighth of the queue on, and for a second after, the node is under load: a sender gets a cookie
// and has to come with it, and then 20 times a second from an address. These are the rules of wireguard-go, which never comes under
// load itself: else it would ask for cookies of its own secret, and as a client keeps one cookie, nobody would get in while both do.
// Initiations go past its queue, and of responses and cookies it gets those that answer a handshake of its own, 1,000 a second.
//
// # Memory
//
// A device of wireguard-go takes as many buffers of 64 KiB as there are messages inside it, and has room for millions. Here it is given
// 128 for each processor in each direction, and no more before some have come through; [Config].InFlight changes that. A message
// that the device drops, as it is not authentic, does not count for longer than the device has it. Of what waits for a handshake
// only the last 250 ms count.
//
// # Two keys
//
// There is a device for each key. A message goes to the device that it is for, a packet for a peer to the device by which the peer
// was heard from last: each peer's keys, addresses and counters are the same whichever it uses, and it may go to and fro. While
// there is one key, of what is received only the type is looked at, and of what is sent the destination.
//
// The second device begins without peers, and takes no computation for those that are registered: that is milliseconds with 10,000.
// When the former key goes, the port is closed and opened anew for the other device: messages that come in the fraction of a
// millisecond between are lost, those that are sent wait. If another program takes the port in that moment, and keeps it for 2 s, the
// device fails.
//
// # Source addresses
//
// wireguard-go remembers to which address of the host a peer has sent, to answer from there, and watches the system's routes to
// forget it when another way is better. Nothing is remembered where the system merges datagrams (UDP GRO, Linux 5.0 and newer):
// there the system chooses the address, and always did (conn, splitCoalescedMessages). Elsewhere the watch does not run, but when
// the system refuses to send from that address, one is chosen by the system; as long as it does not refuse, the address is kept
// until the peer is heard from, or a handshake is due.
package wggo
