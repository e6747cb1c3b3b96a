// Package desired holds what a node has asked of a dataplane, so that no dataplane has to work out for itself whether a
// change is sound, how to undo it, or how two states differ.
//
// It is pure: no operating system, no goroutine, no privilege. A dataplane keeps one [Set], guards it with the lock that
// serialises its changes, and for each change checks it, applies it, and then records it:
//
//	if err := set.Check(change); err != nil {
//		return err
//	}
//	undo := set.Inverse(change)
//	if err := execute(change); err != nil {
//		return errors.Join(err, execute(undo))
//	}
//	set.Record(change)
package desired
