package htb

import "errors"

// Conditions that errors of this package match.
var (
	// ErrConfig is matched by errors about a Config that cannot work.
	ErrConfig = errors.New("htb: invalid configuration")
	// ErrExhausted is matched by errors about a claim for which there is no class id left: [MaxClasses] are in use.
	ErrExhausted = errors.New("htb: no class left")
	// ErrNoClass is matched by errors about a class that is not claimed, or is a leaf where a group is wanted.
	ErrNoClass = errors.New("htb: no such class")
	// ErrInUse is matched by errors about releasing a group that has leaves which are claimed.
	ErrInUse = errors.New("htb: group has leaves")
	// ErrNoRoot is matched by errors about a tree whose Root was not set yet.
	ErrNoRoot = errors.New("htb: no root; call Root first")
	// ErrClosed is returned by a tree that was closed.
	ErrClosed = errors.New("htb: tree is closed")
)
