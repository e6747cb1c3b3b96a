package shaping

import "errors"

// Conditions that errors of this package match.
var (
	// ErrConfig is matched by errors about a [Config] or a [Tuning] that cannot work.
	ErrConfig = errors.New("shaping: invalid configuration")
	// ErrName is matched by errors about an empty name of a group or a leaf.
	ErrName = errors.New("shaping: empty name")
	// ErrNoGroup is matched by errors about a leaf whose group does not exist.
	ErrNoGroup = errors.New("shaping: no such group")
	// ErrGroupInUse is matched by errors about removing a group that still has leaves.
	ErrGroupInUse = errors.New("shaping: group has leaves")
	// ErrClosed is returned by a [Scheduler] that was closed.
	ErrClosed = errors.New("shaping: scheduler is closed")
)
