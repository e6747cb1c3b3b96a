package wgnode

import (
	"errors"
	"fmt"
	"strings"
)

// Conditions that a caller may want to tell apart with [errors.Is]. What is returned says more: which operation, on which
// subject, and why.
var (
	// ErrNotFound: there is no such peer or account.
	ErrNotFound = errors.New("not found")
	// ErrExists: the peer is there already, with a different specification.
	ErrExists = errors.New("exists with a different specification")
	// ErrInvalid: the input breaks a rule; the error is a [*ValidationError].
	ErrInvalid = errors.New("invalid")
	// ErrNotAdmitted: [Config].Admit refused to have the peer added; the error says why.
	ErrNotAdmitted = errors.New("not admitted")
	// ErrAccountInUse: the account still has peers, so that it cannot be removed.
	ErrAccountInUse = errors.New("account still has peers: remove or move them first")
	// ErrNotStarted: the node has not been started, or its start failed.
	ErrNotStarted = errors.New("node is not started: call Start first")
	// ErrStarted: Start was called on a node that is starting or running.
	ErrStarted = errors.New("node is already started")
	// ErrClosed: the node has been closed, or closed itself after a fatal error (Wait tells which).
	ErrClosed = errors.New("node is closed")
	// ErrNotSupported: this system or this dataplane cannot do what was asked; the error names what is required.
	ErrNotSupported = errors.New("not supported")
	// ErrNoUsageLog: the node keeps no log of what was used over time.
	ErrNoUsageLog = errors.New("node has no usage log: set Config.UsageLog, for example to what usagelog.Open returns")
	// ErrKeyMismatch: the node's private key is not there, or is not the one whose public key its peers know.
	ErrKeyMismatch = errors.New("the node's private key is not the one that its peers know")
	// ErrKeyOverlap: there is an overlap of the node's keys already, and one at a time.
	ErrKeyOverlap = errors.New("an overlap of the node's keys is under way")
	// ErrCorrupt: a stored record cannot be what this program wrote; the error is a [*CorruptError].
	ErrCorrupt = errors.New("corrupt record")
)

// OpError says which operation failed, on what, and why.
type OpError struct {
	// Op is what was attempted: "add", "set data cap of".
	Op string
	// Subject is what it was attempted on; zero for the node itself.
	Subject Subject
	// Err is why it failed. When undoing the operation failed too, Err holds both errors.
	Err error
}

// Error is one line for a person.
func (e *OpError) Error() string {
	if e.Subject == (Subject{}) {
		return fmt.Sprintf("wgnode: %s: %v", e.Op, e.Err)
	}
	return fmt.Sprintf("wgnode: %s %s: %v", e.Op, e.Subject, e.Err)
}

// Unwrap gives the cause.
func (e *OpError) Unwrap() error { return e.Err }

// ItemError is what was wrong with one item of a call for many.
type ItemError struct {
	// Index is the item's in what was given.
	Index int
	Err   error
}

// BulkError says which items kept a call for many from being made; nothing was done for any. [errors.Is] and [errors.As] look
// into each item's error.
type BulkError struct {
	// Op is what was attempted: "add".
	Op string
	// Of is how many items were given.
	Of int
	// Items has at least one entry, in the order given.
	Items []ItemError
}

// Error names the first items, and says how many more there are.
func (e *BulkError) Error() string {
	const most = 8
	var b strings.Builder
	fmt.Fprintf(&b, "wgnode: %s %d peers: nothing was done: ", e.Op, e.Of)
	for i, item := range e.Items[:min(len(e.Items), most)] {
		if i > 0 {
			b.WriteString("; ")
		}
		fmt.Fprintf(&b, "item %d: %v", item.Index, item.Err)
	}
	if more := len(e.Items) - most; more > 0 {
		fmt.Fprintf(&b, "; and %d more", more)
	}
	return b.String()
}

// Unwrap gives the items' errors.
func (e *BulkError) Unwrap() []error {
	errs := make([]error, len(e.Items))
	for i, item := range e.Items {
		errs[i] = item.Err
	}
	return errs
}

// Problem is one rule that an input breaks.
type Problem struct {
	// Field is the Go name of the field, with an index where there is one: "Addrs[1]".
	Field string
	// Message says what is wrong, and what would be right.
	Message string
}

// ValidationError names every problem of an input at once. It matches [ErrInvalid].
type ValidationError struct {
	// What was checked: "configuration", "peer", "account", "data cap".
	What string
	// Problems has at least one entry, in the order of the fields.
	Problems []Problem
}

// Error lists all problems on one line.
func (e *ValidationError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "invalid %s: ", e.What)
	for i, p := range e.Problems {
		if i > 0 {
			b.WriteString("; ")
		}
		fmt.Fprintf(&b, "%s: %s", p.Field, p.Message)
	}
	return b.String()
}

// Is makes the error match [ErrInvalid].
func (e *ValidationError) Is(target error) bool { return target == ErrInvalid }

// NotSupportedError says what cannot be done here and what it would take. It matches [ErrNotSupported].
type NotSupportedError struct {
	// Feature is what was asked for: "ICMP echo".
	Feature string
	// Requires is what would make it possible: "net.ipv4.ping_group_range to include this process's group".
	Requires string
}

// Error is one line for a person.
func (e *NotSupportedError) Error() string {
	return fmt.Sprintf("%s is not supported here: it requires %s", e.Feature, e.Requires)
}

// Is makes the error match [ErrNotSupported].
func (e *NotSupportedError) Is(target error) bool { return target == ErrNotSupported }

// CorruptError names a stored record that cannot be used. A node never starts without a record that it has, so that no
// peer and no cap is lost unseen: restore the store from a backup, or delete the record if what it held may be lost.
// It matches [ErrCorrupt].
type CorruptError struct {
	Kind RecordKind
	Key  string
	// Err says what is wrong with the record.
	Err error
}

// Error is one line for a person.
func (e *CorruptError) Error() string {
	return fmt.Sprintf("stored %s %q cannot be used: %v (restore the store from a backup, or delete this record)",
		e.Kind, e.Key, e.Err)
}

// Is makes the error match [ErrCorrupt].
func (e *CorruptError) Is(target error) bool { return target == ErrCorrupt }

// Unwrap gives the cause.
func (e *CorruptError) Unwrap() error { return e.Err }
