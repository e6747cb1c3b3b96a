package crashtest

import (
	"context"
	"errors"
	"os"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/ipam"
	"github.com/waylume/waylume/isolation"
	"github.com/waylume/waylume/quota"
	"github.com/waylume/waylume/shaping"
	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/boltstore"
)

// order says which node a process is to serve, and where it is to die.
type order struct {
	Dataplane  string
	Store      string
	UsageLog   string
	Port       uint16
	Quarantine time.Duration
	// Internet is the UDP address that stands for all that a peer of package userspace can reach.
	Internet string
	// Interface is that of package kernel.
	Interface string
	Fault     fault
}

// fault is a point at which a process kills itself: at the Nth call of Where, Within after it has begun, or when it has ended.
// None if Nth is 0.
type fault struct {
	Where  string
	Nth    int
	After  bool
	Within time.Duration
}

// request is one line to a process.
type request struct {
	ID int
	operation
}

// operation is one call to a node. What its kind does not take is zero.
type operation struct {
	Kind    string
	Peers   []wgnode.PeerSpec  `json:",omitzero"`
	Keys    []wgtypes.Key      `json:",omitzero"`
	Account wgnode.AccountSpec `json:",omitzero"`
	Subject subject            `json:",omitzero"`
	Limit   shaping.Limit      `json:",omitzero"`
	Cap     quota.Cap          `json:",omitzero"`
	Bytes   quota.Bytes        `json:",omitzero"`
	Policy  isolation.Policy   `json:",omitzero"`
	At      time.Time          `json:",omitzero"`
	Grace   time.Duration      `json:",omitzero"`
	// Patience is how long the caller waits; 0 is for ever.
	Patience time.Duration `json:",omitzero"`
}

// subject is a wgnode.Subject that can be written down.
type subject struct {
	Peer    wgtypes.Key `json:",omitzero"`
	Account string      `json:",omitzero"`
}

func (s subject) of() wgnode.Subject {
	if s.Account != "" {
		return wgnode.OfAccount(s.Account)
	}
	return wgnode.OfPeer(s.Peer)
}

func (s subject) String() string { return s.of().String() }

// line is one line from a process: exactly one field is set, but for Reading.
type line struct {
	Ready *ready `json:",omitempty"`
	// Committing is what the store is about to be given, Committed that it has it, and Refused that it has not.
	Committing []wgnode.Mutation `json:",omitempty"`
	Committed  bool              `json:",omitempty"`
	// Reading is with Committed, of a checkpoint: when the reading of all counters began that it stores.
	Reading time.Time `json:",omitzero"`
	Refused bool      `json:",omitempty"`
	// Logging is that the usage log is about to be written to, and Logged that it was.
	Logging bool    `json:",omitempty"`
	Logged  bool    `json:",omitempty"`
	Answer  *answer `json:",omitempty"`
}

// ready says that the node has started.
type ready struct {
	PublicKey wgtypes.Key
	Port      uint16
}

// answer is what came of a request.
type answer struct {
	ID int
	// Condition is what a caller can tell an error by; empty for success. Error is its text.
	Condition, Error string
	Added            []wgnode.AddedPeer `json:",omitempty"`
	Account          wgnode.Account     `json:",omitzero"`
	Usage            wgnode.Usage       `json:",omitzero"`
	Repairs          []wgnode.Repair    `json:",omitempty"`
	Contents         *contents          `json:",omitempty"`
}

// contents are everything that a node says it has.
type contents struct {
	Peers    []wgnode.Peer
	Accounts []wgnode.Account
	Usage    map[string]wgnode.Usage // by the subject's String
	Status   wgnode.Status
}

// Conditions of an answer.
const (
	made        = ""
	notFound    = "not found"
	exists      = "exists"
	invalid     = "invalid"
	inUse       = "in use"
	taken       = "taken"
	quarantined = "quarantined"
	impatient   = "impatient"
	closed      = "closed"
	unexpected  = "unexpected"
)

func conditionOf(err error) string {
	for _, c := range []struct {
		err  error
		name string
	}{
		{nil, made}, {context.DeadlineExceeded, impatient}, {os.ErrDeadlineExceeded, impatient},
		{wgnode.ErrClosed, closed}, {boltstore.ErrClosed, closed},
		{wgnode.ErrNotFound, notFound}, {wgnode.ErrExists, exists}, {wgnode.ErrInvalid, invalid}, {wgnode.ErrAccountInUse, inUse},
		{ipam.ErrTaken, taken}, {ipam.ErrQuarantined, quarantined},
	} {
		if errors.Is(err, c.err) {
			return c.name
		}
	}
	return unexpected
}
