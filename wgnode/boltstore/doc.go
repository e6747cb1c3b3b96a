// Package boltstore keeps a node's state in one file: peers, accounts, usage, and the node's generated private key.
//
// [Open] makes or opens the file and locks it; the [Store] goes into wgnode.Config, whose node closes it. Every commit is
// one bbolt transaction: durable when it returns, whole or absent after a crash. The file holds secrets, and has mode
// 0600 whatever it had before. A file that another process uses, that a newer program wrote, that is damaged or that is
// not ours is refused with an error that says so and what to do, and never taken for an empty one. It needs no privilege.
//
//	store, err := boltstore.Open("/var/lib/waylume/state.db", boltstore.Options{})
//	if err != nil {
//		return err
//	}
//	node, err := wgnode.New(wgnode.Config{Store: store, Dataplane: dataplane})
package boltstore
