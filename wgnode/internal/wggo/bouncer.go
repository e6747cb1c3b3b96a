package wggo

import (
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/tai64n"
)

// bouncer has peers enter devices, and leave them when they are idle.
type bouncer struct {
	reg    *registry
	log    *slog.Logger
	idle   time.Duration
	most   int           // peers in devices
	turned atomic.Uint64 // how many initiations found no room
	words  *rate.Limiter // of what is logged of that

	status func() (unlock func()) // has no Status be under way until it is unlocked
	left   func()                 // is told when somebody has left

	mu     sync.Mutex // of one round at a time
	packed time.Time  // when everybody was busy last; guarded by mu
}

var (
	errGone   = errors.New("the peer or the key is gone")
	errReplay = errors.New("the initiation is not later than one of before")
	errFull   = errors.New("there is no room for another active peer")
)

const (
	// defaultMost leaves a margin to device.MaxPeers, 65,536.
	defaultMost = 60_000
	// packedRest is how long nobody is looked for who may leave after all were busy.
	packedRest = time.Second
	// fullWords is the least time between two lines of the log that say that all are busy.
	fullWords = 10 * time.Second
)

func newBouncer(reg *registry, cfg Config, status func() func(), left func()) *bouncer {
	b := &bouncer{
		reg: reg, log: cfg.Logger, idle: cfg.Idle, most: cfg.MaxActive, words: rate.NewLimiter(rate.Every(fullWords), 1),
		status: status, left: left,
	}
	if b.idle == 0 {
		b.idle = defaultIdle
	}
	if b.most == 0 {
		b.most = defaultMost
	}
	return b
}

// greet brings in a peer whose initiation is proven to be its own, if it is not in the lane's device. The caller holds the peer's
// door.
func (b *bouncer) greet(e *entry, l *lane, shared [32]byte, stamp tai64n.Timestamp) (*presence, error) {
	b.reg.mu.Lock()
	if e.is(gone) {
		b.reg.mu.Unlock()
		return nil, errGone
	}
	if !e.past().replay.fresh(stamp) {
		b.reg.mu.Unlock()
		return nil, errReplay
	}
	p := e.in(l)
	b.reg.mu.Unlock()
	if p != nil {
		return p, nil
	}
	return b.enter(e, l, shared, netip.AddrPort{})
}

// heard notes that a device took an initiation and answered it. The caller holds the peer's door.
func (b *bouncer) heard(e *entry, p *presence) {
	b.reg.mu.Lock()
	p.stay.knock(time.Now())
	p.opened += device.MessageInitiationSize
	owes := p.owes
	p.owes = false
	b.reg.mu.Unlock()
	if owes {
		_ = b.reg.keepBy(e) // it fails where the device is at its end
	}
}

// enter tells the lane's device of a peer, with an endpoint if the node is to speak first. The caller holds the peer's door.
func (b *bouncer) enter(e *entry, l *lane, shared [32]byte, endpoint netip.AddrPort) (*presence, error) {
	told, err := b.reserve(e, l)
	if err != nil {
		return nil, err
	}
	owes := told.Keepalive > 0 && !endpoint.IsValid()
	if owes { // wireguard-go would begin at once, and not know where the peer is
		told.Keepalive = 0
	}
	var text strings.Builder
	writePeer(&text, told)
	if endpoint.IsValid() {
		writeEndpoint(&text, endpoint)
	}
	err = l.dev.IpcSet(text.String())
	b.reg.mu.Lock()
	defer b.reg.mu.Unlock()
	if err == nil && !slices.Contains(b.reg.live, l) {
		err = errGone
	}
	if err != nil {
		b.reg.active--
		l.remove(e.key) // which does no harm where it is not
		return nil, err
	}
	p := &presence{lane: l, shared: shared, stay: arrive(time.Now(), endpoint.IsValid()), owes: owes}
	l.present[e] = p
	if e.now == nil {
		e.now = &activity{keeper: l}
		e.now.by.Store(l)
	}
	e.now.at = append(slices.Clone(e.now.at), p)
	return p, nil
}

// reserve has room for a peer, and says what its device is to be told.
func (b *bouncer) reserve(e *entry, l *lane) (Peer, error) {
	b.reg.mu.Lock()
	defer b.reg.mu.Unlock()
	switch {
	case e.is(gone) || !slices.Contains(b.reg.live, l):
		return Peer{}, errGone
	case b.reg.active >= b.most:
		return Peer{}, errFull
	}
	b.reg.active++
	told := e.told()
	if e.now != nil { // the other lane sends them, as long as the peer is reached by that
		told.Keepalive = 0
	}
	return told, nil
}

// room reports whether one more peer can enter. Where none can, those leave that are idle the longest, unless all are busy.
func (b *bouncer) room() bool {
	full := func() bool {
		b.reg.mu.RLock()
		defer b.reg.mu.RUnlock()
		return b.reg.active >= b.most
	}
	if !full() {
		return true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if now := time.Now(); full() && now.Sub(b.packed) >= packedRest {
		if b.roundLocked(b.idle/busyShare, max(1, b.most/64)) == 0 {
			b.packed = time.Now()
		}
	}
	if !full() {
		return true
	}
	b.turned.Add(1)
	if b.log != nil && b.words.Allow() {
		b.log.Warn("a peer cannot connect: as many as can be active are busy", "active", b.most, "turned_away", b.turned.Load())
	}
	return false
}
