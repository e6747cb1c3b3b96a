package load

import (
	"fmt"
	"sync"
	"time"

	"github.com/waylume/waylume/registry"
)

// Meter makes a load of samples. Its methods may be called from any goroutine.
type Meter struct {
	cfg Config

	mu     sync.Mutex // guards what follows
	at     time.Time
	signal signal
	load   registry.Load

	cpu, quota busyMeter
	uplink     uplinkMeter
	// rated is when the rates of load were measured.
	rated time.Time

	busy, limited, memory, conntrack, peers, link average
}

// NewMeter returns a meter. Errors match [registry.ErrInvalid], and name all that is wrong.
func NewMeter(cfg Config) (*Meter, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("load: %w", err)
	}
	return &Meter{cfg: cfg, signal: newSignal(cfg.Thresholds)}, nil
}

// Load is what the samples so far make. It is zero before the first.
func (m *Meter) Load() registry.Load {
	m.mu.Lock()
	defer m.mu.Unlock()
	return copied(m.load)
}

// Add takes a sample, and returns the load with it. The first one tells how full things are, and rates come with the second.
func (m *Meter) Add(s Sample) registry.Load {
	m.mu.Lock()
	defer m.mu.Unlock()
	elapsed := s.At.Sub(m.at)
	switch {
	case m.at.IsZero():
		elapsed = 0
	case elapsed < 0:
		m.rebaseLocked(s.At)
		elapsed = 0
	case elapsed < MinElapsed:
		return copied(m.load)
	}
	m.at = s.At
	m.measureLocked(s)
	m.tellLocked(elapsed)
	return copied(m.load)
}

// rebaseLocked has time go on from another moment: what is known stays, and rates are measured from here.
func (m *Meter) rebaseLocked(at time.Time) {
	for _, a := range m.averages() {
		a.at = at
	}
	m.uplink, m.rated = uplinkMeter{}, at
}

func (m *Meter) averages() []*average {
	return []*average{&m.busy, &m.limited, &m.memory, &m.conntrack, &m.peers, &m.link}
}

func (m *Meter) measureLocked(s Sample) {
	for _, b := range []struct {
		meter *busyMeter
		now   Busy
		into  *average
	}{{&m.cpu, s.CPU, &m.busy}, {&m.quota, s.Quota, &m.limited}} {
		if fraction, ok := b.meter.add(b.now); ok {
			b.into.add(fraction, s.At, m.cfg.Smoothing)
		}
	}
	for _, f := range []struct {
		now  Fill
		into *average
	}{{s.Memory, &m.memory}, {s.Conntrack, &m.conntrack}, {s.Peers, &m.peers}} {
		if f.now.Of > 0 {
			f.into.add(float64(f.now.Used)/float64(f.now.Of), s.At, m.cfg.Smoothing)
		}
	}
	if r, ok := m.uplink.add(s.Uplink, s.At); ok {
		m.rated = s.At
		m.load.ReceivedRate, m.load.SentRate = whole(r.received), whole(r.sent)
		m.load.ReceivedPackets, m.load.SentPackets = whole(r.receivedPackets), whole(r.sentPackets)
		if s.Uplink.Capacity > 0 {
			m.link.add(max(r.received, r.sent)/float64(s.Uplink.Capacity), s.At, m.cfg.Smoothing)
		}
	}
	for _, a := range m.averages() {
		a.forget(s.At, m.cfg.Smoothing)
	}
	if s.At.Sub(m.rated) > m.cfg.Smoothing {
		m.load.ReceivedRate, m.load.SentRate, m.load.ReceivedPackets, m.load.SentPackets = 0, 0, 0, 0
	}
}

func (m *Meter) tellLocked(elapsed time.Duration) {
	l := &m.load
	l.CPU = higher(m.busy.rounded(), m.limited.rounded())
	l.Memory, l.Conntrack, l.Uplink, l.Peers = m.memory.rounded(), m.conntrack.rounded(), m.link.rounded(), m.peers.rounded()
	highest := higher(higher(higher(l.CPU, l.Memory), higher(l.Conntrack, l.Uplink)), l.Peers)
	e := evidence{known: highest != nil, traffic: l.CPU != nil || l.Uplink != nil}
	if e.known {
		e.score = *highest
	}
	l.Score = e.score
	m.signal.add(e, elapsed)
	l.Scaling = m.signal.state
}

// higher is the higher of two that may be unknown.
func higher(a, b *float64) *float64 {
	if a == nil || b != nil && *b > *a {
		return b
	}
	return a
}

// copied shares nothing with the load.
func copied(l registry.Load) registry.Load {
	for _, p := range []**float64{&l.CPU, &l.Memory, &l.Conntrack, &l.Uplink, &l.Peers} {
		if *p != nil {
			*p = new(**p)
		}
	}
	return l
}
