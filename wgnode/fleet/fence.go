package fleet

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/registry"
	"github.com/waylume/waylume/wgnode"
)

// Why a fence does not let a peer in.
var (
	// ErrReleased: the session was moved away from this node, or ended, in this generation or a later one.
	ErrReleased = errors.New("the session has left this node in this generation or a later one")
	// ErrLabels: the peer's labels say that it is of a session, and do not say of which generation.
	ErrLabels = errors.New("a peer of a session needs both labels, " + registry.SessionLabel + " and " + registry.GenerationLabel +
		", the latter a number from 1")
	// ErrFence: the fence's file is damaged or another's.
	ErrFence = errors.New("the file of released sessions cannot be used")
)

// Bounds of [FenceConfig].Keep.
const (
	// DefaultKeep is long beside the life of a signed request, which is a minute at most.
	DefaultKeep = time.Hour
	MinKeep     = 10 * time.Minute
	MaxKeep     = 7 * 24 * time.Hour
)

// FenceConfig is what a [Fence] needs.
type FenceConfig struct {
	// File keeps which sessions were released, in a directory that is there. Required; one process has it at a time.
	File string
	// Keep is how long that is kept, by the wall clock, MinKeep to MaxKeep: longer than any request can be late. 0: DefaultKeep.
	Keep time.Duration
	// Logger is told of peers that are refused or replaced. Nil: nothing is logged.
	Logger *slog.Logger
}

// Fence keeps peers out of a node whose session the fleet has moved elsewhere. Its methods may be called from any goroutine.
type Fence struct {
	cfg  FenceConfig
	node atomic.Pointer[wgnode.Node]
	// sessions has one addition or release of a session at a time.
	sessions locks

	writing sync.Mutex // held while the file is written; taken before mu
	mu      sync.Mutex
	stones  map[registry.SessionID]stone
}

// stone says which generations of a session may not come back.
type stone struct {
	generation int64
	at         time.Time
}

// OpenFence reads the file, if there is one. Errors match [ErrFence], [registry.ErrInvalid], or are the system's.
func OpenFence(cfg FenceConfig) (*Fence, error) {
	if cfg.Keep == 0 {
		cfg.Keep = DefaultKeep
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	switch {
	case cfg.File == "":
		return nil, fmt.Errorf("fleet: %w: File is required", registry.ErrInvalid)
	case cfg.Keep < MinKeep || cfg.Keep > MaxKeep:
		return nil, fmt.Errorf("fleet: %w: Keep is %s, and must be %s to %s", registry.ErrInvalid, cfg.Keep, MinKeep, MaxKeep)
	}
	stones, err := readStones(cfg.File)
	if err != nil {
		return nil, fmt.Errorf("fleet: %w", err)
	}
	return &Fence{cfg: cfg, stones: stones}, nil
}

// guard has the fence remove peers of a node.
func (f *Fence) guard(node *wgnode.Node) { f.node.Store(node) }

// Admit is for [wgnode.Config].Admit. It refuses peers of sessions that were released, with [ErrReleased], and those whose
// labels are wrong, with [ErrLabels]. Where the node has the same peer of the session in a lower generation, which the fleet has given
// up without the node having heard, that is removed first.
func (f *Fence) Admit(ctx context.Context, specs []wgnode.PeerSpec) (done func(), err error) {
	wanted := make(map[registry.SessionID]int64, len(specs))
	for _, spec := range specs {
		session, generation, err := sessionOf(spec.Labels)
		if err != nil {
			return nil, err
		}
		if session != "" {
			wanted[session] = max(wanted[session], generation)
		}
	}
	if len(wanted) == 0 {
		return nil, nil
	}
	unlock, err := f.sessions.lock(ctx, wanted)
	if err != nil {
		return nil, err
	}
	for _, spec := range specs {
		if err := f.admit(ctx, spec); err != nil {
			unlock()
			return nil, err
		}
	}
	return unlock, nil
}

// admit judges one peer, whose session is locked.
func (f *Fence) admit(ctx context.Context, spec wgnode.PeerSpec) error {
	session, generation, err := sessionOf(spec.Labels)
	if err != nil || session == "" {
		return err
	}
	f.mu.Lock()
	released, ok := f.stones[session]
	f.mu.Unlock()
	if ok && generation <= released.generation {
		f.cfg.Logger.Info("peer of a session that was released is not added", "session", session, "generation", generation)
		return ErrReleased
	}
	node := f.node.Load()
	if node == nil {
		return nil
	}
	peer, err := node.Peer(spec.PublicKey)
	if errors.Is(err, wgnode.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	of, has, other := sessionOf(peer.Labels)
	switch {
	case other != nil || of != session || has == generation:
		return nil //nolint:nilerr // whatever is wrong with the labels of a peer that is there, it is none of this session's
	case has > generation:
		return ErrReleased
	}
	f.cfg.Logger.Info("peer is replaced by that of a later generation of its session", "session", session, "generation", generation)
	err = node.RemovePeer(ctx, spec.PublicKey)
	if errors.Is(err, wgnode.ErrNotFound) {
		return nil
	}
	return err
}

// release carries out releases: they are on the disk, then the additions that were let in before have ended, then the
// peers go.
func (f *Fence) release(ctx context.Context, releases []registry.Release) (removed int, err error) {
	if len(releases) == 0 {
		return 0, nil
	}
	wanted := make(map[registry.SessionID]int64, len(releases))
	for _, r := range releases {
		wanted[r.Session] = max(wanted[r.Session], r.Generation)
	}
	if err := f.keep(wanted, time.Now()); err != nil {
		return 0, err
	}
	unlock, err := f.sessions.lock(ctx, wanted)
	if err != nil {
		return 0, err
	}
	defer unlock()
	node := f.node.Load()
	keys := peersOf(node, wanted)
	// All or none go together; where one has gone meanwhile, each goes by itself.
	if len(keys) == 0 {
		return 0, nil
	}
	if err := node.RemovePeers(ctx, keys); err == nil {
		return len(keys), nil
	} else if !errors.Is(err, wgnode.ErrNotFound) {
		return 0, err
	}
	for _, key := range keys {
		switch err := node.RemovePeer(ctx, key); {
		case err == nil:
			removed++
		case !errors.Is(err, wgnode.ErrNotFound):
			return removed, err
		}
	}
	return removed, nil
}

// peersOf returns the peers of sessions up to generations, by their labels: the session's key may have been changed here.
func peersOf(node *wgnode.Node, sessions map[registry.SessionID]int64) (keys []wgtypes.Key) {
	for p := range node.Peers(wgnode.ListOptions{}) {
		session, generation, err := sessionOf(p.Labels)
		if err == nil && session != "" && generation <= sessions[session] {
			keys = append(keys, p.PublicKey)
		}
	}
	return keys
}

// keep puts releases on the disk, and in force.
func (f *Fence) keep(releases map[registry.SessionID]int64, now time.Time) error {
	f.writing.Lock()
	defer f.writing.Unlock()
	f.mu.Lock()
	next := make(map[registry.SessionID]stone, len(f.stones)+len(releases))
	for session, s := range f.stones {
		if s.at.After(now) {
			s.at = now // the clock was ahead
		}
		if now.Sub(s.at) <= f.cfg.Keep {
			next[session] = s
		}
	}
	f.mu.Unlock()
	for session, generation := range releases {
		next[session] = stone{max(generation, next[session].generation), now}
	}
	if err := writeStones(f.cfg.File, next); err != nil {
		return fmt.Errorf("keep which sessions were released: %w", err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stones = next
	return nil
}

// sessionOf reads a peer's labels; session is empty for a peer of none.
func sessionOf(labels map[string]string) (session registry.SessionID, generation int64, err error) {
	id, ok := labels[registry.SessionLabel]
	text, numbered := labels[registry.GenerationLabel]
	if !ok && !numbered {
		return "", 0, nil
	}
	generation, err = strconv.ParseInt(text, 10, 64)
	if id == "" || err != nil || generation < 1 || strconv.FormatInt(generation, 10) != text {
		return "", 0, ErrLabels
	}
	return registry.SessionID(id), generation, nil
}
