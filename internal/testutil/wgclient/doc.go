// Package wgclient is a light WireGuard initiator for tests and benchmarks that need many peers: one UDP socket, and for each peer
// two keys and a few dozen words, where a device of wireguard-go takes goroutines, queues and an X25519 operation for each of its
// own peers.
//
//	client, err := wgclient.Dial(server, serverKey.PublicKey(), func(s *wgclient.Session, packets [][]byte) { ... })
//	...
//	defer client.Close()
//	session, err := client.Handshake(ctx, privateKey, presharedKey)
//	...
//	err = session.Send(packets)
//
// It follows the WireGuard paper (https://www.wireguard.com/papers/wireguard.pdf), by its sections: the first and the second message
// of the handshake (5.4.2, 5.4.3), keys of a session (5.4.5), transport messages (5.4.6) and the first of the two MACs (5.4.4). What
// a test does not need it leaves out: it answers no handshake, does not do one again by itself (a session ends after the 180 s of
// REJECT_AFTER_TIME; the answer to another Handshake with the same key takes its place), computes no second MAC from a cookie (a
// server that asks for one makes the handshake fail with [ErrUnderLoad]), and does not look for messages that were sent to it twice.
//
// Dial opens the socket and starts a goroutine for each of its families, which Close joins.
package wgclient
