package wgnode

import (
	"cmp"
	"errors"
	"maps"
	"slices"
	"sync"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

// maxPending is how many subjects the inbox tells apart; more than these stand for all. It is past what a WireGuard
// device holds.
const maxPending = 1 << 16

// errUnexplained stands for a failure that the dataplane gave no reason for.
var errUnexplained = errors.New("the dataplane gave no reason")

// inbox takes what the dataplane has to say, without blocking it, until the node's goroutine gets to it. What is said of
// one subject many times is kept once, so that it is bounded.
type inbox struct {
	mu      sync.Mutex
	pending mail
	wake    chan struct{} // holds a token while there is something to look at
}

// mail is what came in since the last look.
type mail struct {
	peers    map[wgtypes.Key]struct{}
	accounts map[string]struct{}
	all      bool  // there were too many to name
	sync     bool  // the dataplane must be compared with what it should be
	failed   error // the dataplane gave up
}

func newInbox() *inbox { return &inbox{wake: make(chan struct{}, 1)} }

// notify is the dataplane's [DataplaneConfig].Notify.
func (b *inbox) notify(e DataplaneEvent) {
	b.mu.Lock()
	m := &b.pending
	switch e.Kind {
	case BudgetReached:
		m.addSubject(e)
	case DataplaneFailed:
		if m.failed == nil {
			m.failed = &OpError{Op: "run dataplane", Err: cmp.Or(e.Err, errUnexplained)}
		}
	case DataplaneDisturbed:
		m.sync = true
	}
	b.mu.Unlock()
	b.poke()
}

func (m *mail) addSubject(e DataplaneEvent) {
	if m.all {
		return
	}
	if len(m.peers)+len(m.accounts) >= maxPending {
		m.all, m.peers, m.accounts = true, nil, nil
		return
	}
	if e.Account != "" {
		if m.accounts == nil {
			m.accounts = make(map[string]struct{})
		}
		m.accounts[e.Account] = struct{}{}
	}
	if e.Peer != (wgtypes.Key{}) {
		if m.peers == nil {
			m.peers = make(map[wgtypes.Key]struct{})
		}
		m.peers[e.Peer] = struct{}{}
	}
}

// disturbed asks for a sync.
func (b *inbox) disturbed() { b.notify(DataplaneEvent{Kind: DataplaneDisturbed}) }

// poke wakes the node's goroutine.
func (b *inbox) poke() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// take empties the inbox.
func (b *inbox) take() mail {
	b.mu.Lock()
	defer b.mu.Unlock()
	m := b.pending
	b.pending = mail{}
	return m
}

// lookAtAll has the counters of every subject read.
func (b *inbox) lookAtAll() {
	b.mu.Lock()
	b.pending.all = true
	b.mu.Unlock()
	b.poke()
}

// query asks for the counters of those that mail came from.
func (m mail) query() StatsQuery {
	return StatsQuery{All: m.all, Peers: slices.Collect(maps.Keys(m.peers)), Accounts: slices.Collect(maps.Keys(m.accounts))}
}
