// Package placement is a control plane's loop: it has a server serve a session, and has another one do so when that one is gone.
//
// A [Controller] joins three things: [registry.Sessions], which knows who owns a session; [registry.Directory], which knows the
// servers; and [Nodes], which asks a server for a peer. It keeps nothing of its own, so that several may run at once, in any
// process, and one that ends in the middle leaves nothing that another does not carry on.
//
//	controller, err := placement.New(placement.Config{Sessions: fleet, Directory: fleet, Nodes: nodes})
//	if err != nil {
//		return err
//	}
//	go controller.Run(ctx) // moves what is stranded
//	connection, err := controller.Connect(ctx, registry.NewSession{User: "ann", IdempotencyKey: "phone-1", PublicKey: key})
//
// [Controller.Connect] begins a session, has its server make the peer, and confirms that. Where the server fails or refuses, the session
// moves to the next; the first is told to release it, whether it has the peer or not. To connect once more is harmless.
//
// [Controller.Rehome] looks once for sessions whose server is silent, drains or has left, or whose placement nobody finished, and moves
// them; those that are past their time it ends. [Controller.Run] does so again and again.
//
// Nothing here removes a peer from a node: a node drops one when its own heartbeat brings it the release. Why so, and what holds
// while nodes, controllers and clients cannot reach one another, is in docs/fleet-failover.md; fencing_test.go holds it against a simulated
// fleet in which messages are lost, late, doubled and out of order.
package placement
