package placement

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"github.com/waylume/waylume/registry"
)

// Defaults, and the bounds of Config.
const (
	DefaultTries         = 4
	DefaultTimeout       = 20 * time.Second
	DefaultCreateTimeout = 5 * time.Second
	DefaultInterval      = 5 * time.Second
	DefaultConcurrency   = 16
	DefaultBatch         = 500
	MaxTries             = 32
	MaxConcurrency       = 1024
	MaxBatch             = 10_000

	// MaxAge is how old the knowledge of who owns a session may be when a node is asked. A request that is signed then lives 60 s at
	// most, and a node remembers a release for 10 minutes at least: a controller that was stopped for an hour between
	// the two must not ask what was released long ago.
	MaxAge = time.Minute
)

// Conditions that a caller may want to tell apart with [errors.Is].
var (
	// ErrAddresses: the node cannot give the peer the addresses that were asked for. It is asked again, for any.
	ErrAddresses = errors.New("the addresses are not free on this node")
	// ErrPeer: what is asked for is wrong, and no node would take it. The session ends.
	ErrPeer = errors.New("no node takes such a peer")
	// ErrEnded: the session that the idempotency key names has ended.
	ErrEnded = errors.New("the session has ended: begin another one, with an idempotency key of its own")
	// ErrNoNode: the servers that were tried did not take the session. It is where it was last placed, and connecting again, or
	// Rehome, carries on.
	ErrNoNode = errors.New("no server took the session")
)

// Nodes asks servers for peers. Its methods are called from many goroutines.
type Nodes interface {
	// Create has a server make the peer of a session: of its public key, with what Session.Peer asks for, the labels
	// [registry.SessionLabel] and [registry.GenerationLabel], the addresses of Session.Addresses if there are any, and an
	// idempotency key that is made of the session's ID and generation. To ask again for the same generation is harmless, and answered with
	// the same. Any error that is neither ErrAddresses nor ErrPeer has the session go to another server.
	Create(ctx context.Context, server registry.Server, session registry.Session) (Peer, error)
}

// Peer is what a node has made.
type Peer struct {
	// Addresses are the peer's in the tunnel.
	Addresses []netip.Addr
	// Answer is the node's, in the form of its API, for whoever makes the client's configuration of it. May be nil.
	Answer json.RawMessage
}

// Connection is a session on a server that has its peer.
type Connection struct {
	Session registry.Session
	Server  registry.Server
	// Peer has the addresses alone where the session was active before: the node was not asked again.
	Peer Peer
}

// Config is what a controller is made of. Sessions, Directory and Nodes are required.
type Config struct {
	Sessions  registry.Sessions
	Directory registry.Directory
	Nodes     Nodes
	// Moved is told of each session that another server serves now, after that server has the peer: its client wants a new
	// configuration. It is called from many goroutines. Nil: nobody is told, and clients ask.
	Moved func(ctx context.Context, c Connection)
	// Tries is how many servers a session is offered to before it is given up for now, 1 to MaxTries. 0: DefaultTries.
	Tries int
	// Timeout is for a session with all its tries, CreateTimeout for one try. 0: DefaultTimeout, DefaultCreateTimeout.
	Timeout       time.Duration
	CreateTimeout time.Duration
	// Freshness is how long a server may be silent before its sessions are moved, in whole seconds. 0: registry.DefaultFreshness.
	Freshness time.Duration
	// Interval is the mean time between the beginnings of Run's looks at what is stranded. 0: DefaultInterval.
	Interval time.Duration
	// Concurrency is how many sessions are moved at once, 1 to MaxConcurrency. 0: DefaultConcurrency.
	Concurrency int
	// Batch is how many stranded sessions are asked for at once, 1 to MaxBatch. 0: DefaultBatch.
	Batch int
	// Now is a clock. Nil: time.Now. Differences of its times count alone.
	Now func() time.Time
	// Logger gets what goes wrong, and moves at debug level. Nil: nothing is logged.
	Logger *slog.Logger
}

// Controller places sessions. Make it with [New]. Its methods may be called from any goroutine.
type Controller struct {
	cfg     Config
	servers servers
	outage  outage
}

// New returns a controller, or an error that names every problem of the configuration. It starts nothing.
func New(cfg Config) (*Controller, error) {
	var errs []error
	for name, missing := range map[string]bool{
		"Sessions": cfg.Sessions == nil, "Directory": cfg.Directory == nil, "Nodes": cfg.Nodes == nil,
	} {
		if missing {
			errs = append(errs, fmt.Errorf("%s: is nil", name))
		}
	}
	number := func(name string, n *int, usual, most int) {
		if *n == 0 {
			*n = usual
		}
		if *n < 1 || *n > most {
			errs = append(errs, fmt.Errorf("%s: %d is not in the range 1 to %d", name, *n, most))
		}
	}
	number("Tries", &cfg.Tries, DefaultTries, MaxTries)
	number("Concurrency", &cfg.Concurrency, DefaultConcurrency, MaxConcurrency)
	number("Batch", &cfg.Batch, DefaultBatch, MaxBatch)
	duration := func(name string, d *time.Duration, usual time.Duration) {
		if *d == 0 {
			*d = usual
		}
		if *d < 0 {
			errs = append(errs, fmt.Errorf("%s: %s is below 0", name, *d))
		}
	}
	duration("Timeout", &cfg.Timeout, DefaultTimeout)
	duration("CreateTimeout", &cfg.CreateTimeout, DefaultCreateTimeout)
	duration("Freshness", &cfg.Freshness, registry.DefaultFreshness)
	duration("Interval", &cfg.Interval, DefaultInterval)
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("%w configuration: %w", registry.ErrInvalid, err)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Controller{cfg: cfg, servers: servers{directory: cfg.Directory, now: cfg.Now}}, nil
}

// known is a session as the registry said it was, and when that was asked.
type known struct {
	registry.Session
	asked time.Time
}

// ask notes when a registry was asked, before it is. Without its monotonic part a time counts a machine's sleep, too.
func (c *Controller) ask(do func() (registry.Session, error)) (known, error) {
	asked := c.cfg.Now().Round(0)
	s, err := do()
	return known{s, asked}, err
}

// old says that a session may have had another owner for so long that the one which is known has forgotten the release.
func (c *Controller) old(s known) bool {
	age := c.cfg.Now().Round(0).Sub(s.asked)
	return age > MaxAge || age < 0
}
