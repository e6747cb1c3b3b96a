// Package wgnode puts a production VPN exit node inside any Go program: a [Node] gives each peer its addresses, a speed
// limit, a data cap and isolation from everybody else, and keeps all of that in force through a [Dataplane].
//
// # Lifecycle
//
// [New] checks a [Config] and copies it; it touches nothing. [Node.Start] loads the [Store], and brings the dataplane up
// with every limit and rule standing before the first packet can pass. From then on the node serves calls from any
// goroutine, closes and removes peers whose time is over, begins new periods of data caps, writes usage to the store, and compares the
// dataplane with what it should be, on a period and whenever the dataplane says that someone touched it. [Node.Close]
// stops traffic, writes usage, and joins the one goroutine there is; [Node.Wait] returns the error of a node that had to
// close itself.
//
// # Changes
//
// Changes are made one at a time, each whole or not at all: a peer is leased addresses, stored, and put in force, in this
// order; what fails is undone in reverse, also when the caller's context has ended. Asking again for what is so already is
// a success that changes nothing. Input is checked whole: one [*ValidationError] names every problem.
//
// What happens is told as [Event] values to any number of readers; one that falls behind is told how much it missed.
//
// [Status] names what is wrong with the node, and since when; [Node.PeerQualities] tells how peers are connected.
//
// # The life of a peer
//
//	         AddPeer
//	            |
//	            v     Suspend, of the peer or its account
//	         active <------------------------------------> suspended
//	          ^  |                 Resume
//	SetExpiry |  | ExpiresAt, with a GracePeriod
//	          |  v
//	         expired ----> removed: RemovePeer, the end of ExpiresAt and GracePeriod, IdleTimeout
//
// Only an active peer is known to the dataplane: one that is suspended or in its grace period cannot even shake hands. It
// keeps its addresses and its usage, the periods of its data cap begin and end, and it may be changed, rekeyed and moved to
// another account; its expiry goes on, while its silence does not count. A peer may be both suspended and expired, and is
// active again when it is neither. What passes in the moment between the last reading of its counters and its leaving of
// the dataplane, microseconds to milliseconds, is not counted as its own, but as its account's.
//
// Each of these calls can be made for a peer or for all peers of an account, which is one change: in the store, in the
// dataplane, whole or not at all. A restart changes nothing of it.
//
// # Usage over time
//
// With a [Config].UsageLog, which [usagelog.Open] returns, the counters of all peers and accounts are logged every quarter of an
// hour, and each one's last before it is removed. [Node.UsageBetween] and [Node.UsageSeries] answer from it what was used in an
// hour or a day, also by who is gone. A log that fails holds nothing up: it is told as [UsageLogFailed], and what was used
// meanwhile counts when it works again.
//
// # The node's key
//
// It is in the [Store], or, out of that and its backups, in [Config.PrivateKeyFile], or the program's own affair with
// [Config.PrivateKey]. A node that has peers does not start with another key than they know unless it is told so. [Node.RotateKey]
// changes it while the node runs: at once, so that everybody else is cut off until they have the new one, or with an overlap, in
// which clients that know the node by its former key stay connected and connect anew. [PeerQuality] says which those are.
//
// # Privileges
//
// None of its own: what is needed is up to the dataplane. Package userspace under this one needs nothing; a kernel
// dataplane needs CAP_NET_ADMIN. The package reads no environment, keeps no globals, and several nodes may run in one
// process.
//
// # Use
//
//	node, err := wgnode.New(wgnode.Config{
//		Dataplane: dataplane, // for example from wgnode/userspace
//		Endpoint:  "vpn.example.com:51820",
//	})
//	if err != nil {
//		return err
//	}
//	defer node.Close()
//	if err := node.Start(ctx); err != nil {
//		return err
//	}
//	peer, err := node.AddPeer(ctx, wgnode.PeerSpec{
//		SpeedLimit: shaping.Limit{Download: 20_000_000, Upload: 5_000_000},
//		DataCap:    quota.Cap{Bytes: 1 << 30},
//	})
//	if err != nil {
//		return err
//	}
//	client, err := node.ClientConfig(peer.PublicKey, peer.PrivateKey)
//	if err != nil {
//		return err
//	}
//	fmt.Print(client) // for wg-quick, or client.QRText() for a phone
package wgnode
