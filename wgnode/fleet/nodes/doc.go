// Package nodes has a control plane ask the nodes of its fleet for peers, over their HTTP API. A [Nodes] is what
// [placement.Config].Nodes wants.
//
//	key, err := sign.Ed25519("control-plane-1", private)
//	if err != nil {
//		return err
//	}
//	asking, err := nodes.New(nodes.Config{Key: key, Subject: "control-plane"})
//	if err != nil {
//		return err
//	}
//	defer asking.Close()
//	controller, err := placement.New(placement.Config{Sessions: fleet, Directory: fleet, Nodes: asking})
//
// Each request is signed for the one node that it goes to, and anew each time that it is sent. What makes asking twice harmless is
// the idempotency key, of the session and the generation, and that of a peer which is there already: nothing is made twice.
//
// It links no node and no dataplane, starts no goroutine but those of connections, and needs no privilege.
package nodes
