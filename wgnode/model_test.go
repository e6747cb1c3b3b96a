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
	now      time.Time
}

type modelAccount struct {
	spec      AccountSpec
	tally     modelTally
	suspended bool
}

type modelPeer struct {
	spec              PeerSpec
	tally             modelTally
	suspended, lapsed bool
	former            wgtypes.Key
	// idle is for how long the peer has been silent.
	idle time.Duration
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

func (m *model) members(account string) []*modelPeer {
	var members []*modelPeer
	for _, p := range m.peers {
		if account != "" && p.spec.Account == account {
			members = append(members, p)
		}
	}
	return members
}

// targets are the peers that a change of a subject's peers concerns; false: there is no such subject.
func (m *model) targets(s Subject) ([]*modelPeer, bool) {
	if key, ok := s.Peer(); ok {
		p := m.peer(key)
		return []*modelPeer{p}, p != nil
	}
	id, _ := s.Account()
	return m.members(id), m.account(id) != nil
}

func (m *model) accountSuspended(p *modelPeer) bool {
	a := m.account(p.spec.Account)
	return a != nil && a.suspended
}

func (m *model) active(p *modelPeer) bool { return !p.suspended && !p.lapsed && !m.accountSuspended(p) }

func (m *model) watched(p *modelPeer) bool { return m.active(p) && p.spec.IdleTimeout > 0 }

// change does something after which the silence of some peers may count that did not before.
func (m *model) change(do func()) {
	before := make(map[*modelPeer]bool)
	for _, p := range m.peers {
		before[p] = m.watched(p)
	}
	do()
	for _, p := range m.peers {
		if m.watched(p) && !before[p] {
			p.idle = 0
		}
	}
}

// reach lets time pass, in which the node ran or not.
func (m *model) reach(now time.Time, ran bool) {
	day := now.UTC().YearDay() + 1000*now.UTC().Year()
	for _, a := range m.accounts {
		a.tally.reach(day)
	}
	for _, p := range m.peers {
		p.tally.reach(day)
	}
	m.peers = slices.DeleteFunc(m.peers, func(p *modelPeer) bool {
		end := p.spec.ExpiresAt
		if ran && m.watched(p) {
			until := now
			if !end.IsZero() && end.Before(now) {
				until = end
			}
			p.idle += until.Sub(m.now)
			if p.idle > p.spec.IdleTimeout || p.idle == p.spec.IdleTimeout && !until.Equal(end) {
				return true
			}
		}
		p.lapsed = !end.IsZero() && !end.After(now)
		return p.lapsed && !end.Add(p.spec.GracePeriod).After(now)
	})
	m.now = now
}
