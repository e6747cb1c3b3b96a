// Package boltstore keeps a node's state in one file: peers, accounts, usage, and the node's private key if
// that has no file of its own.
//
// [Open] makes or opens the file and locks it; the [Store] goes into wgnode.Config, whose node closes it. Every commit is
// one bbolt transaction: durable when it returns, whole or absent after a crash. The file holds secrets, and has mode
// 0600 whatever it had before. It needs no privilege.
//
//	store, err := boltstore.Open("/var/lib/waylume/state.db", boltstore.Options{})
//	if err != nil {
//		return err
//	}
//	node, err := wgnode.New(wgnode.Config{Store: store, Dataplane: dataplane})
//
// # What is refused
//
// A file that another process uses, that a newer program wrote, that is damaged or that is not ours is refused with an error
// that says so and what to do. It is left as it was, and never taken for an empty one: an empty file is a damaged one. Only
// where there is no file Open makes one, which gets its name when it is whole.
//
// Open reads all of the file first, about 4 ms for a thousand peers: every page has to be where it belongs, every record to
// have its checksum, and there have to be as many as were committed. So one wrong bit is found out before anything is written,
// wherever it matters. That includes the root page of the last commit, where bbolt would go back to the commit before without a
// word. What is relied on is that a disk writes a sector of 512 bytes whole or not at all, as those do that are sold.
//
// # When the disk fails
//
// A commit that cannot be written, or synced, is an error, and what was acknowledged before stays. The store can be used
// further: its next commit first has the disk take what the failed one may have left, without which a loss of power could
// take more than that commit. Disks that lie about a sync are beyond help.
//
// # Backups
//
// [Store.Backup] copies the state as it is at one moment, while the node runs; [Check] says what is in a file and what is
// damaged; [Restore] puts a backup in place, and keeps the file that was there.
package boltstore
