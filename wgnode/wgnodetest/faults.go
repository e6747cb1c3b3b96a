package wgnodetest

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/wgnode"
)

// Op is a method of a dataplane.
type Op int

// The methods that can be made to fail.
const (
	OpStart Op = iota + 1
	OpApply
	OpSync
	OpStats
	OpClose
	OpSetKeys
)

// String is the method's name in lower case.
func (op Op) String() string {
	if op < OpStart || op > OpSetKeys {
		return "none"
	}
	return [...]string{
		OpStart: "start", OpApply: "apply", OpSync: "sync", OpStats: "stats", OpClose: "close", OpSetKeys: "set keys",
	}[op]
}

// faults are what a test has planned to go wrong.
type faults struct {
	mu        sync.Mutex
	next      map[Op][]error                         // guarded by mu
	intercept func(ctx context.Context, op Op) error // guarded by mu
}

// check returns the error that a call is to fail with, before it has done anything.
func (f *faults) check(ctx context.Context, op Op) error {
	f.mu.Lock()
	intercept := f.intercept
	var planned error
	if queue := f.next[op]; len(queue) > 0 {
		planned, f.next[op] = queue[0], queue[1:]
	}
	f.mu.Unlock()
	if intercept != nil {
		if err := intercept(ctx, op); err != nil {
			return err
		}
	}
	if planned != nil {
		return planned
	}
	return context.Cause(ctx)
}

// FailNext makes the next call of a method fail with err, having changed nothing; said several times, that many calls
// fail, in order. Close does its work all the same, and returns err.
func (d *Dataplane) FailNext(op Op, err error) {
	d.faults.mu.Lock()
	defer d.faults.mu.Unlock()
	if d.faults.next == nil {
		d.faults.next = make(map[Op][]error)
	}
	d.faults.next[op] = append(d.faults.next[op], err)
}

// Intercept has f called at the beginning of each call, with no lock held. f may wait, as long as ctx lets it, and what it
// returns, if not nil, fails the call. A nil f ends it.
func (d *Dataplane) Intercept(f func(ctx context.Context, op Op) error) {
	d.faults.mu.Lock()
	defer d.faults.mu.Unlock()
	d.faults.intercept = f
}

// Fail stops all packets for good, and tells the node that the dataplane has failed, upon which the node closes.
func (d *Dataplane) Fail(err error) {
	d.live.Store(nil)
	d.notices.notify(wgnode.DataplaneEvent{Kind: wgnode.DataplaneFailed, Err: err})
}

// Disturb makes a change behind the node's back, as somebody else on the host could, and tells the node that something
// was disturbed, upon which the node syncs. Disturbing a dataplane that does not run is an error.
func (d *Dataplane) Disturb(change wgnode.Change) error {
	defer d.lock()()
	if err := d.usableLocked(); err != nil {
		return err
	}
	if err := d.applyLocked(change); err != nil {
		return err
	}
	d.notices.notify(wgnode.DataplaneEvent{Kind: wgnode.DataplaneDisturbed})
	return nil
}

// SetHandshake sets what Stats says of a peer's last handshake, which is one with the node's own key, and of where it was heard
// from. It is forgotten when the peer is removed, or the key is no more served: during an overlap it goes on as one with the
// former key.
func (d *Dataplane) SetHandshake(key wgtypes.Key, at time.Time, endpoint netip.AddrPort) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.handshake[key] = handshake{at, endpoint, d.cfg.PrivateKey}
}

// SetProblems sets what the dataplane says is wrong when it is asked for its health; none ends all of them.
func (d *Dataplane) SetProblems(problems ...wgnode.HealthProblem) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.problems = slices.Clone(problems)
}

// Config returns what the node started the dataplane with, and the keys that it has now.
func (d *Dataplane) Config() wgnode.DataplaneConfig {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.cfg
}

// State returns what is in force. It is empty unless the dataplane runs.
func (d *Dataplane) State() wgnode.State {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.path == nil {
		return wgnode.State{}
	}
	return d.path.Want().State()
}

// Changes returns the changes that the node made with Apply and that did not fail, in order.
func (d *Dataplane) Changes() []wgnode.Change {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.changes)
}

// ErrInjected is an error for tests that do not care which one it is.
var ErrInjected = errors.New("wgnodetest: injected failure")
