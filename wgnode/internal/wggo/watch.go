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
		if p.moved.Swap(false) && p.keepAlive() != nil {
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
	p.routes.mu.Lock()
	defer p.routes.mu.Unlock()
	for key, h := range last {
		r := p.routes.peers[key]
		if r == nil || !h.at.After(r.shaken) {
			continue
		}
		r.shaken = h.at
		if r.by.Swap(h.by) != h.by {
			p.moved.Store(true)
		}
	}
	return nil
}

// keepAlive has keepalives sent by the lanes that peers are reached by, and by no other: that one would try to shake hands.
func (p *pair) keepAlive() error {
	p.routes.mu.Lock()
	defer p.routes.mu.Unlock()
	var errs []error
	for key, r := range p.routes.peers {
		if by := r.by.Load(); r.keepalive > 0 && r.keeper != by {
			errs = append(errs, r.keepBy(key, p, by))
		}
	}
	return errors.Join(errs...)
}

func (r *route) keepBy(key wgtypes.Key, p *pair, by *lane) error {
	other := p.owner
	if by == other {
		other = p.guest
	}
	err := errors.Join(other.dev.IpcSet(keepaliveText(key, 0)), by.dev.IpcSet(keepaliveText(key, r.keepalive)))
	if err == nil {
		r.keeper = by
	}
	return err
}

// keepAllBy has a lane send all keepalives, when the other is at its end.
func (p *pair) keepAllBy(l *lane) error {
	p.routes.mu.Lock()
	defer p.routes.mu.Unlock()
	var errs []error
	for key, r := range p.routes.peers {
		if r.keepalive > 0 && r.keeper != l {
			errs = append(errs, l.dev.IpcSet(keepaliveText(key, r.keepalive)))
		}
	}
	return errors.Join(errs...)
}
