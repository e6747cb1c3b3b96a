package quota_test

import (
	"time"

	"github.com/waylume/waylume/quota"
)

// entry is something that a ledger was told.
type entry struct {
	at           time.Time
	down, up     int64 // bytes that passed
	extra        int64 // topped up
	forget, anew bool  // a reset; a new period
}

// ledgerModel is a ledger that keeps a list of all that it was told, and computes everything from the whole list whenever
// it is asked. Amounts are small, so that plain integers do.
type ledgerModel struct {
	cap      quota.Cap
	log      []entry
	now      time.Time
	down, up int64
	told     int
	cut      bool
	events   []int // as in told
	zone     *time.Location
	zoneName string
}

// floor is the beginning of the calendar period that t lies in, found by trying one hour after the other. It is for zones
// whose clocks do not change at the period's hour.
func (m *ledgerModel) floor(t time.Time) time.Time {
	p := m.cap.Period
	if m.zone == nil || m.zoneName != p.TimeZone {
		zone, err := time.LoadLocation(p.TimeZone)
		if err != nil {
			panic(err)
		}
		m.zone, m.zoneName = zone, p.TimeZone
	}
	for t = t.In(m.zone).Truncate(30 * time.Minute); ; t = t.Add(-30 * time.Minute) {
		if t.Hour() != p.Hour || t.Minute() != 0 {
			continue
		}
		last := t.AddDate(0, 0, 1).Day() == 1
		if p.Kind == quota.Daily || p.Kind == quota.Weekly && t.Weekday() == p.Weekday ||
			p.Kind == quota.Monthly && (t.Day() == max(p.Day, 1) || last && t.Day() < p.Day) {
			return t.UTC()
		}
	}
}

func (m *ledgerModel) onCalendar() bool {
	k := m.cap.Period.Kind
	return k == quota.Daily || k == quota.Weekly || k == quota.Monthly
}

// sums are what was used and topped up, as of now.
func (m *ledgerModel) sums() (used, extra int64) {
	var since time.Time
	if m.onCalendar() {
		since = m.floor(m.now)
	}
	step := m.cap.Period.Window / 60
	for _, e := range m.log {
		if e.anew {
			used, extra = 0, 0
		}
		if e.forget {
			used = 0
		}
		if e.at.Before(since) {
			continue
		}
		if m.cap.Period.Kind == quota.Rolling {
			// What was told at an instant leaves when the step that the instant lies in has left.
			leaves := e.at.Truncate(step).Add(m.cap.Period.Window)
			if e.at != e.at.Truncate(step) {
				leaves = leaves.Add(step)
			}
			if !leaves.After(m.now) {
				continue
			}
		}
		extra += e.extra
		if m.cap.Counted != quota.CountUpload {
			used += e.down
		}
		if m.cap.Counted != quota.CountDownload {
			used += e.up
		}
	}
	return used, extra
}

func (m *ledgerModel) counter() int64 {
	switch m.cap.Counted {
	case quota.CountDownload:
		return m.down
	case quota.CountUpload:
		return m.up
	}
	return m.down + m.up
}

// limitAt is the absolute limit, which may be negative.
func (m *ledgerModel) limitAt() int64 {
	used, extra := m.sums()
	return m.counter() + int64(m.cap.Bytes) + extra - used
}

func (m *ledgerModel) percent() int {
	used, extra := m.sums()
	limit := int64(m.cap.Bytes) + extra
	switch {
	case m.cap.Bytes == 0:
		return 0
	case m.cut || used >= limit:
		return 100
	}
	return int(used * 100 / limit)
}

// settle makes the events that follow from a change.
func (m *ledgerModel) settle() {
	thresholds := m.cap.Thresholds
	if thresholds == nil {
		thresholds = []int{80, 100}
	}
	percent := m.percent()
	for p := m.told + 1; p <= percent; p++ {
		for _, threshold := range thresholds {
			if threshold == p {
				m.events = append(m.events, p)
			}
		}
	}
	if percent == 100 && m.told < 100 {
		m.events = append(m.events, 0)
	}
	m.told = percent
}

// change makes a change, after which a subject that was cut off has come back if there is more room.
func (m *ledgerModel) change(f func()) {
	limit, old := m.limitAt(), m.cap
	f()
	if m.cap.Bytes == 0 || m.cap.AtEnd != quota.Block || old.Counted != m.cap.Counted || m.limitAt() > limit {
		m.cut = false
	}
	m.settle()
}

func (m *ledgerModel) pass(now time.Time, down, up int64) {
	next := m.now
	if now.After(next) {
		next = now
	}
	e := entry{at: m.now, down: max(down-m.down, 0), up: max(up-m.up, 0)}
	if !m.onCalendar() {
		e.at = next
		m.change(func() {
			m.log, m.now, m.down, m.up = append(m.log, e), next, down, up
		})
		return
	}
	m.change(func() { m.log, m.down, m.up = append(m.log, e), down, up })
	begun := m.floor(m.now)
	periods := 0
	for start := m.floor(next); start.After(begun); start = m.floor(start.Add(-1)) {
		periods++
	}
	if periods == 0 {
		m.now = next
		return
	}
	// What nobody has asked about yet shrinks to one event when another period begins.
	for _, e := range m.events {
		if e < 0 {
			m.events, periods = nil, periods-e
			break
		}
	}
	m.events = append(m.events, -periods)
	m.change(func() { m.now, m.told = next, 0 })
}

func (m *ledgerModel) setCap(c quota.Cap, now time.Time) {
	m.change(func() {
		if !c.Period.Equal(m.cap.Period) || m.cap.Bytes == 0 && m.cap.Period.Kind == quota.None {
			m.log, m.now = append(m.log, entry{at: now, anew: true}), now
		}
		m.cap = c
	})
}

func (m *ledgerModel) reset(now time.Time) {
	m.change(func() {
		if now.Before(m.now) {
			_, extra := m.sums()
			m.log, m.now = append(m.log, entry{at: now, anew: true}, entry{at: now, extra: extra}), now
		}
		m.log = append(m.log, entry{at: m.now, forget: true})
	})
}

func (m *ledgerModel) deplete(enforced int64) {
	if m.cap.Bytes != 0 && m.cap.AtEnd == quota.Block && max(m.limitAt(), 0) <= enforced {
		m.cut = true
		m.settle()
	}
}
