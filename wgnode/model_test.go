package wgnode

import (
	"slices"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/quota"
)

// model says what a node must do, in the plainest way: maps, slices, and sums.
type model struct {
	accounts []*modelAccount // in the order in which they were added
	peers    []*modelPeer
}

type modelAccount struct {
	spec  AccountSpec
	tally modelTally
}

type modelPeer struct {
	spec  PeerSpec
	tally modelTally
}

// modelTally counts both directions against a cap.
type modelTally struct {
	limit quota.Cap
	// extra was topped up, used has passed, in the period that runs; total since the beginning.
	extra, used, total int
	// cut: a packet was larger than what was left, and none has passed since.
	cut bool
	day int
}

func (m *modelTally) room() int { return int(m.limit.Bytes) + m.extra - m.used }

// change does something to the tally; more room than before ends a cut.
func (m *modelTally) change(do func()) {
	before, capped := m.room(), m.limit.Bytes != 0
	do()
	if m.limit.Bytes == 0 || !capped || m.room() > before {
		m.cut = false
	}
}

func (m *modelTally) setCap(limit quota.Cap) {
	fresh := limit.Period.Kind != m.limit.Period.Kind || m.limit.Bytes == 0 && m.limit.Period.Kind == quota.None
	m.change(func() {
		m.limit = limit
		if fresh {
			m.used, m.extra = 0, 0
		}
	})
}

func (m *modelTally) reach(day int) {
	if m.limit.Period.Kind == quota.Daily && day > m.day {
		m.change(func() { m.used, m.extra = 0, 0 })
	}
	m.day = day
}

// take reports whether a packet passes.
func (m *modelTally) take(n int) bool {
	if m.limit.Bytes != 0 && (m.cut || n > m.room()) {
		m.cut = true
		return false
	}
	m.used += n
	m.total += n
	return true
}

func (m *modelTally) depleted() bool { return m.limit.Bytes != 0 && (m.cut || m.room() <= 0) }

func (m *model) account(id string) *modelAccount {
	if i := slices.IndexFunc(m.accounts, func(a *modelAccount) bool { return a.spec.ID == id }); i >= 0 {
		return m.accounts[i]
	}
	return nil
}

func (m *model) peer(key wgtypes.Key) *modelPeer {
	if i := slices.IndexFunc(m.peers, func(p *modelPeer) bool { return p.spec.PublicKey == key }); i >= 0 {
		return m.peers[i]
	}
	return nil
}

func (m *model) tally(s Subject) *modelTally {
	if key, ok := s.Peer(); ok {
		if p := m.peer(key); p != nil {
			return &p.tally
		}
		return nil
	}
	id, _ := s.Account()
	if a := m.account(id); a != nil {
		return &a.tally
	}
	return nil
}

// reach lets time pass.
func (m *model) reach(now time.Time) {
	day := now.UTC().YearDay() + 1000*now.UTC().Year()
	for _, a := range m.accounts {
		a.tally.reach(day)
	}
	for _, p := range m.peers {
		p.tally.reach(day)
	}
	m.peers = slices.DeleteFunc(m.peers, func(p *modelPeer) bool {
		return !p.spec.ExpiresAt.IsZero() && !p.spec.ExpiresAt.After(now)
	})
}
