package memory

import (
	"container/list"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/waylume/waylume/registry"
)

// DefaultRetention is how long a session that has ended is remembered where nobody says another time.
const DefaultRetention = 30 * 24 * time.Hour

// Config is what a fleet is made of. The zero Config is of use.
type Config struct {
	// Now is the registry's clock. Nil: time.Now.
	Now func() time.Time
	// NewID makes the UUIDs of servers and sessions, in lower case and never the same. Nil: random ones.
	NewID func() string
	// Interval is when the next heartbeat is asked for, in whole seconds, below registry.DefaultFreshness. 0: nodes beat as they like.
	Interval time.Duration
	// Retention is how long a session that has ended is remembered, and with it the idempotency key. 0: DefaultRetention.
	Retention time.Duration
}

// Fleet is a fleet in memory. Make it with [New].
type Fleet struct {
	cfg Config

	mu        sync.Mutex
	servers   map[registry.ID]*server
	names     map[string]*server
	changed   *list.List    // of *server, in the order in which they changed last
	version   uint64        // of the last change of a server
	news      chan struct{} // closed at the next change
	sessions  map[registry.SessionID]*session
	live      map[registry.Key]*session // those that have not ended
	asked     map[request]*session
	ended     *list.List // of *session, in the order in which they ended
	unmatched map[unmatchedKey]registry.PeerUsage
}

// server is one that has registered, and may have deregistered.
type server struct {
	registry.Server
	nodeDraining  bool // the node wants it
	fleetDraining bool // whoever runs the fleet wants it
	gone          bool // it has deregistered, and not registered again
	sequence      int64
	usageSequence int64
	lastRelease   int64
	toldRelease   int64              // the last that an answer has had
	releases      []registry.Release // those that the node has not acknowledged
	placements    map[registry.Key][]*placement
	version       uint64 // of its last change
	element       *list.Element
}

// session is one with all its placements.
type session struct {
	registry.Session
	placements []*placement // in the order of their generations
}

// placement is one generation of a session.
type placement struct {
	session    *session
	server     *server
	generation int64
	placedAt   time.Time
}

type request struct{ user, idempotencyKey string }

type unmatchedKey struct {
	server registry.ID
	key    registry.Key
}

// New returns a fleet without servers. It fails when a duration is negative, or the interval is not of whole seconds or so long
// that servers would not be fresh from one heartbeat to the next.
func New(cfg Config) (*Fleet, error) {
	if cfg.Interval < 0 || cfg.Interval%time.Second != 0 {
		return nil, fmt.Errorf("%w: Interval: %s is not a whole number of seconds", registry.ErrInvalid, cfg.Interval)
	}
	if cfg.Interval >= registry.DefaultFreshness {
		return nil, fmt.Errorf("%w: Interval: %s is not below %s, after which a server without a heartbeat is not fresh: a quarter of that is good",
			registry.ErrInvalid, cfg.Interval, registry.DefaultFreshness)
	}
	if cfg.Retention < 0 {
		return nil, fmt.Errorf("%w: Retention: %s is below 0", registry.ErrInvalid, cfg.Retention)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.NewID == nil {
		cfg.NewID = uuid.NewString
	}
	if cfg.Retention == 0 {
		cfg.Retention = DefaultRetention
	}
	return &Fleet{
		cfg:       cfg,
		servers:   make(map[registry.ID]*server),
		names:     make(map[string]*server),
		changed:   list.New(),
		news:      make(chan struct{}),
		sessions:  make(map[registry.SessionID]*session),
		live:      make(map[registry.Key]*session),
		asked:     make(map[request]*session),
		ended:     list.New(),
		unmatched: make(map[unmatchedKey]registry.PeerUsage),
	}, nil
}

// now is the registry's clock as a time that can be compared and written.
func (f *Fleet) now() time.Time { return f.cfg.Now().Round(0).UTC() }

// changeLocked has whoever watches learn of a server.
func (f *Fleet) changeLocked(s *server) {
	s.Draining = s.nodeDraining || s.fleetDraining
	f.version++
	s.version = f.version
	if s.element == nil {
		s.element = f.changed.PushBack(s)
	} else {
		f.changed.MoveToBack(s.element)
	}
	close(f.news)
	f.news = make(chan struct{})
}

// releaseLocked has the owner of a session drop it.
func (f *Fleet) releaseLocked(s *session) {
	owner := f.servers[s.Server]
	owner.lastRelease++
	owner.releases = append(owner.releases, registry.Release{
		Sequence: owner.lastRelease, Session: s.ID, Generation: s.Generation, PublicKey: s.PublicKey,
	})
	owner.Assigned--
	f.changeLocked(owner)
}
