package wgnodetest

import (
	"sync"

	"github.com/waylume/waylume/wgnode"
)

// notices passes on what the dataplane has to say, at once, but never while its lock is held.
type notices struct {
	mu      sync.Mutex
	target  func(wgnode.DataplaneEvent) // guarded by mu; nil before the first start
	held    int                         // guarded by mu: calls that hold the dataplane's lock, or have just held it
	pending []wgnode.DataplaneEvent     // guarded by mu
}

// lock takes the dataplane's lock and returns the function that gives it back, and then says what came up meanwhile.
func (d *Dataplane) lock() (unlock func()) {
	d.mu.Lock()
	d.notices.hold()
	return func() {
		d.mu.Unlock()
		d.notices.release()
	}
}

func (n *notices) use(target func(wgnode.DataplaneEvent)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.target = target
}

func (n *notices) hold() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.held++
}

func (n *notices) release() {
	n.mu.Lock()
	n.held--
	var due []wgnode.DataplaneEvent
	if n.held == 0 {
		due, n.pending = n.pending, nil
	}
	target := n.target
	n.mu.Unlock()
	if target == nil {
		return
	}
	for _, e := range due {
		target(e)
	}
}

func (n *notices) notify(e wgnode.DataplaneEvent) {
	n.mu.Lock()
	target := n.target
	if n.held > 0 {
		n.pending = append(n.pending, e)
		target = nil
	}
	n.mu.Unlock()
	if target != nil {
		target(e)
	}
}
