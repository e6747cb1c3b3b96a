// Package boltkeys keeps idempotency keys in one file: a bbolt database of mode 0600, which one process at a time can use.
//
// What was committed is on the disk before Commit returns, and stays so when the process is killed or the power fails. Commits
// that come while one is being written share the next.
//
// The file holds a secret of its own and what package idempotency seals with it. What is deleted may remain in free pages of the
// file, sealed, until they are used for something else.
//
// A file that is damaged does not keep a node from starting: [Open] sets it aside, says so in the log, and begins with an empty
// one. Then keys that were used before are as new, and requests that are sent again run again: less bad than a node that serves
// nobody.
//
// Lifecycle: Open, and Close when the server has ended. There are no goroutines. It needs leave to write to the file's directory.
package boltkeys
