package registry

import (
	"context"
	"iter"
	"time"
)

// DefaultFreshness is how long a server counts as there after a heartbeat.
const DefaultFreshness = 60 * time.Second

// DefaultInterval is the time between heartbeats where nobody says another: three may be lost before a server is not fresh.
const DefaultInterval = 15 * time.Second

// MaxReleases is how many releases one answer has at most.
const MaxReleases = 1000

// MaxReleased bounds Heartbeat.Released, so that a node that is wrong cannot use up what its releases are counted by.
const MaxReleased = 1 << 53

// Registry is what a node needs of a fleet. Its methods may be called from any goroutine.
type Registry interface {
	// Register has the fleet know the node, anew if it did: to do it again is harmless, but for the incarnation, which is a higher
	// one each time. Errors: ErrInvalid, ErrNameTaken, ErrDenied, ErrUnavailable.
	Register(ctx context.Context, r Registration) (Registered, error)
	// Heartbeat tells how the node is, and learns what the fleet wants of it. One that arrives after a later one changes nothing.
	// Errors: ErrUnknownServer, after which the node registers again; ErrSuperseded, when another process has registered as
	// the same server; ErrInvalid, ErrDenied, ErrUnavailable.
	Heartbeat(ctx context.Context, h Heartbeat) (Answer, error)
	// Drain has no more sessions be placed on the node, or has it take them again. Errors: as of Heartbeat.
	Drain(ctx context.Context, server ID, draining bool) error
	// Deregister takes the node off the fleet: its sessions are to be moved at once. It is known from then on as one that has
	// never sent a heartbeat, so that it can register again and be the same; until then no directory has it. What it was to release
	// waits for it. One that is not known is no error.
	Deregister(ctx context.Context, server ID) error
	// ReportUsage adds what peers used to their sessions, exactly once: a report whose sequence is not above the last that was
	// taken changes nothing, and is no error. Errors: ErrUnknownServer, ErrGap, ErrInvalid, ErrDenied, ErrUnavailable.
	ReportUsage(ctx context.Context, r UsageReport) (UsageReceipt, error)
}

// Registered is the answer to a registration.
type Registered struct {
	Server ID `json:"server"`
	// Incarnation counts how often the server has registered. Its heartbeats name it.
	Incarnation int64 `json:"incarnation"`
	// UsageSequence is that of the last usage report which was taken; 0: none was.
	UsageSequence int64 `json:"usage_sequence"`
}

// Heartbeat is what a node says regularly.
type Heartbeat struct {
	Server      ID    `json:"server"`
	Incarnation int64 `json:"incarnation"`
	// Sequence is one higher in each heartbeat of an incarnation, from 1.
	Sequence int64 `json:"sequence"`
	Status
	// Draining is what the node wants.
	Draining bool `json:"draining"`
	// Released is the Sequence of the last release that the node has carried out, as have been all before it; 0: none. One that is
	// above all that the registry has told proves that the registry was set back: it then tells all again that is not
	// acknowledged, with sequences above this one. At most MaxReleased.
	Released int64 `json:"released"`
}

// Answer is what the fleet says to a heartbeat.
type Answer struct {
	// Now is the registry's clock.
	Now time.Time `json:"now"`
	// Interval is when the next heartbeat is wanted, in seconds; 0: as the node likes.
	Interval int `json:"interval,omitempty"`
	// Draining: whoever runs the fleet wants the node drained.
	Draining bool `json:"draining"`
	// Releases are those after Heartbeat.Released in their order, MaxReleases at most; More says that there are others, for which
	// the node should not wait until its next time.
	Releases []Release `json:"releases,omitempty"`
	More     bool      `json:"more,omitempty"`
}

// Release tells a server that a session is not its own any more: it has moved, or ended. The peer of that session goes, in that
// generation and all lower ones, and must not come back.
type Release struct {
	// Sequence counts the releases of a server from 1, without gaps but where the registry was set back. The same release may come
	// again with another sequence, and another one, after a registry was set back, with one that was there before: what is known
	// of a release by its sequence alone is not known.
	Sequence   int64     `json:"sequence"`
	Session    SessionID `json:"session"`
	Generation int64     `json:"generation"`
	PublicKey  Key       `json:"public_key"`
}

// UsageReport is what peers of a server used in a time.
type UsageReport struct {
	Server ID `json:"server"`
	// Sequence is one higher in each report of a server, from 1, however often it starts.
	Sequence int64     `json:"sequence"`
	From     time.Time `json:"from"`
	To       time.Time `json:"to"`
	// Usages are at most MaxUsages; a key may be there more than once.
	Usages []PeerUsage `json:"usages"`
}

// MaxUsages is how many usages one report has at most.
const MaxUsages = 5000

// PeerUsage is what one peer used: inner IP bytes, download towards the peer.
type PeerUsage struct {
	PublicKey Key   `json:"public_key"`
	Download  int64 `json:"download"`
	Upload    int64 `json:"upload"`
}

// UsageReceipt says which reports were taken.
type UsageReceipt struct {
	// Sequence is that of the last report which was taken.
	Sequence int64 `json:"sequence"`
}

// Directory is what a control plane needs to know of a fleet. Its methods may be called from any goroutine.
type Directory interface {
	// List returns the servers that a filter lets through, by name.
	List(ctx context.Context, f Filter) ([]Server, error)
	// Watch yields changes of servers from now on until the context ends: first one for each server that there is. A reader that is
	// slow gets the latest of a server, not each. An error ends it.
	Watch(ctx context.Context) iter.Seq2[Change, error]
	// Select chooses a server by [Select], among all that there are, at the registry's time. A query without SessionKey gets a random
	// one. That no server fits is [ErrNoServer]; the selection then says why.
	Select(ctx context.Context, q Query) (Selection, error)
}

// Filter says which servers to list. The zero Filter is all.
type Filter struct {
	Pool, Region, Country, City string
	// Fresh leaves out servers whose last heartbeat is older; 0: none is left out.
	Fresh time.Duration
	// Online leaves out those that no session would be placed on: stale by Fresh or DefaultFreshness, failing, draining.
	Online bool
}

// Change is a server as it is now, or one that is not there any more.
type Change struct {
	Server Server
	Gone   bool
}
