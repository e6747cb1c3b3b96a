// Package wgnode puts a production VPN exit node inside any Go program: a [Node] gives each peer its addresses, a speed
// limit, a data cap and isolation from everybody else, and keeps all of that in force through a [Dataplane].
//
// # Lifecycle
//
// [New] checks a [Config] and copies it; it touches nothing. [Node.Start] loads the [Store], and brings the dataplane up
// with every limit and rule standing before the first packet can pass. From then on the node serves calls from any
// goroutine, removes peers that expire, begins new periods of data caps, writes usage to the store, and compares the
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
