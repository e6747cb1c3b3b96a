package wggo

import (
	"errors"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

const (
	// lookRest is the least time between two looks at handshakes, and lookShare the least of the time that a look took.
	lookRest  = time.Second
	lookShare = 20
	// lookTimes is how often is looked after a handshake: it is complete when the answer to it has been answered.
	lookTimes = 3
)

func (p *pair) lookSoon() {
	if p.looks.Load() != lookTimes {
		p.looks.Store(lookTimes)
	}
}

// watch sees to what no packet tells: peers that shake hands by the other lane, and then send nothing but keepalives; and keepalives
// to peers that have moved. What it says that failed is nobody's to hear: the next look does it.
func (p *pair) watch() {
	rest := time.NewTimer(lookRest)
	defer rest.Stop()
	for {
		select {
		case <-p.stop:
			return
		case <-rest.C:
		}
		began := time.Now()
		if p.looks.Load() > 0 {
			p.looks.Add(-1)
			if p.look() != nil {
				p.lookSoon()
			}
		}
		if p.moved.Swap(false) && p.reg.keepAlive() != nil {
			p.moved.Store(true)
		}
		rest.Reset(max(lookRest, lookShare*time.Since(began)))
	}
}

func (p *pair) end() {
	close(p.stop)
	p.done.Wait()
}

// look takes each peer to the lane of a handshake that was not looked at before.
func (p *pair) look() error {
	type handshake struct {
		at time.Time
		by *lane
	}
	last := make(map[wgtypes.Key]handshake)
	for _, l := range []*lane{p.owner, p.guest} {
		report, err := l.report()
		if err != nil {
			return err
		}
		for _, s := range report.Peers {
			if s.LastHandshake.After(last[s.PublicKey].at) {
				last[s.PublicKey] = handshake{s.LastHandshake, l}
			}
		}
	}
	p.reg.mu.Lock()
	defer p.reg.mu.Unlock()
	for key, h := range last {
		e, ok := p.reg.peers.Get(key)
		if !ok || e.in(h.by) == nil || !h.at.After(e.now.shaken) {
			continue
		}
		e.now.shaken = h.at
		if e.now.by.Swap(h.by) != h.by {
			p.moved.Store(true)
		}
	}
	return nil
}

// keepAlive has keepalives sent by the lanes that peers are reached by, and by no other: that one would try to shake hands.
func (r *registry) keepAlive() error {
	var errs []error
	for _, e := range r.misplaced() {
		e.door.Lock()
		errs = append(errs, r.keepBy(e))
		e.door.Unlock()
	}
	return errors.Join(errs...)
}

// misplaced are the peers whose keepalives another lane sends than the one that they are reached by.
func (r *registry) misplaced() (all []*entry) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for _, l := range r.live {
		for e := range l.present {
			if by := e.now.by.Load(); by == l && e.now.keeper != by {
				all = append(all, e)
			}
		}
	}
	return all
}

// keepBy has the lane that a peer is reached by send its keepalives. The caller holds the peer's door.
func (r *registry) keepBy(e *entry) error {
	r.mu.RLock()
	told, now := e.told(), e.now
	r.mu.RUnlock()
	if now == nil {
		return nil
	}
	by := now.by.Load()
	var errs []error
	for _, p := range now.at {
		interval := told.Keepalive
		if p.lane != by {
			interval = 0
		}
		errs = append(errs, p.lane.dev.IpcSet(keepaliveText(e.key, interval)))
	}
	err := errors.Join(errs...)
	if err == nil {
		r.mu.Lock()
		now.keeper = by
		r.mu.Unlock()
	}
	return err
}
