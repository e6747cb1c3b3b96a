package wggo

import (
	"cmp"
	"context"
	"math"
	"slices"
	"time"

	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

// leavers is how many leave at a time: while they do, a packet of theirs waits.
const leavers = 256

// watch has idle peers leave until the context ends.
func (b *bouncer) watch(ctx context.Context) {
	tick := time.NewTicker(max(b.idle/lookIdle, time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			b.mu.Lock()
			b.roundLocked(b.idle, math.MaxInt)
			b.mu.Unlock()
		}
	}
}

// roundLocked looks at what was heard of all peers in devices, and has those leave that were idle for so long: the longest idle
// first, as many as are wanted. It returns how many did. A device that cannot be asked is at its end.
func (b *bouncer) roundLocked(after time.Duration, want int) (left int) {
	b.reg.mu.RLock()
	live := b.reg.live
	b.reg.mu.RUnlock()
	var idle []*candidate
	for _, l := range live {
		report, err := l.report()
		if err == nil {
			idle = append(idle, b.look(l, report, after)...)
		}
	}
	slices.SortFunc(idle, func(x, y *candidate) int { return x.heard.Compare(y.heard) })
	idle = idle[:min(len(idle), want)]
	slices.SortStableFunc(idle, func(x, y *candidate) int { return cmp.Compare(x.lane.id, y.lane.id) })
	for len(idle) > 0 {
		n := slices.IndexFunc(idle, func(c *candidate) bool { return c.lane != idle[0].lane })
		if n < 0 {
			n = len(idle)
		}
		n = min(n, leavers)
		left += b.leave(idle[0].lane, idle[:n], after)
		idle = idle[n:]
	}
	return left
}

// candidate is a peer that may leave a lane.
type candidate struct {
	*entry
	*presence
	heard time.Time
}

// look notes what a device has heard, and returns who is idle.
func (b *bouncer) look(l *lane, report Status, after time.Duration) (idle []*candidate) {
	now := time.Now()
	for some := range slices.Chunk(report.Peers, atOnce) {
		b.reg.mu.Lock()
		for _, s := range some {
			e, ok := b.reg.peers.Get(s.PublicKey)
			if !ok {
				continue
			}
			if p := e.in(l); p != nil {
				p.stay.report(s.ReceivedBytes, now)
				if p.stay.idle(after, now) {
					idle = append(idle, &candidate{e, p, p.stay.heard})
				}
			}
		}
		b.reg.mu.Unlock()
	}
	return idle
}

// leave has peers leave a lane, unless they were heard from meanwhile. What the device has of them is read when it counts no more.
func (b *bouncer) leave(l *lane, some []*candidate, after time.Duration) int {
	var stopped []*candidate
	for _, c := range some {
		c.door.Lock()
		if !b.stillIdle(c, after) {
			c.door.Unlock()
			continue
		}
		defer c.door.Unlock()
		if peer := l.dev.LookupPeer(device.NoisePublicKey(c.key)); peer != nil {
			peer.Stop()
		}
		stopped = append(stopped, c)
	}
	if len(stopped) == 0 {
		return 0
	}
	last, err := l.report()
	if err != nil {
		return 0 // the lane is at its end, and all leave with it
	}
	unlock := b.status()
	b.remember(l, last, stopped)
	unlock()
	for _, c := range stopped {
		l.remove(c.key)
	}
	b.left()
	return len(stopped)
}

func (b *bouncer) stillIdle(c *candidate, after time.Duration) bool {
	b.reg.mu.RLock()
	defer b.reg.mu.RUnlock()
	return c.in(c.lane) == c.presence && c.stay.heard.Equal(c.heard) && c.stay.idle(after, time.Now())
}

// remember keeps what a device knows of peers that leave.
func (b *bouncer) remember(l *lane, last Status, leaving []*candidate) {
	known := make(map[wgtypes.Key]PeerStatus, len(leaving))
	for _, c := range leaving {
		known[c.key] = PeerStatus{}
	}
	for _, s := range last.Peers {
		if _, ok := known[s.PublicKey]; ok {
			known[s.PublicKey] = s
		}
	}
	b.reg.mu.Lock()
	defer b.reg.mu.Unlock()
	for _, c := range leaving {
		if c.in(l) != c.presence { // the lane is at its end, and has said what it knew
			continue
		}
		s := known[c.key]
		v := visit{lane: l.id, endpoint: s.Endpoint}
		if !s.LastHandshake.IsZero() {
			v.shaken = s.LastHandshake.UnixNano()
		}
		c.past().add(s, c.presence)
		c.was.note(v, b.reg.live)
		b.reg.leaveLocked(c.entry, c.presence)
	}
}
