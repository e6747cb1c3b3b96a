// Package wgnodetest has a dataplane for tests of programs that embed a node: it moves real packets in memory, with no
// socket, no WireGuard and no privilege.
//
// Limits, caps and isolation are those of the userspace dataplane, as both run the same packet path; what is missing is
// the encryption and the network stack. A packet that a test sends from a peer's [Port] comes out at the port of the
// internet, or at another peer's, if the policy lets it pass, at the speed that the limits allow, and is counted:
//
//	dp := wgnodetest.NewDataplane()
//	node, err := wgnode.New(wgnode.Config{Dataplane: dp})
//	...
//	peer, err := node.AddPeer(ctx, wgnode.PeerSpec{})
//	...
//	to := netip.MustParseAddrPort("192.0.2.1:53")
//	dp.Peer(peer.PublicKey).Send(wgnodetest.UDPPacket(netip.AddrPortFrom(peer.Addrs[0], 5000), to, []byte("hello")))
//	packet, err := dp.Internet().Receive(ctx)
//
// What goes wrong in the field can be made to go wrong here: [Dataplane.FailNext] fails a call, [Dataplane.Fail] the
// dataplane as a whole, [Dataplane.Disturb] changes it behind the node's back, and [Dataplane.Intercept] holds up a call.
//
// All waiting is on channels and timers, so that a test may run in a bubble of testing/synctest, where a day of a data
// cap passes in no time.
//
// Package conformance, below this one, has the tests that every dataplane must pass; this one does.
package wgnodetest
