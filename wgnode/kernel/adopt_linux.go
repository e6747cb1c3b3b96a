package kernel

import (
	"context"
	"net/netip"
	"slices"

	"github.com/waylume/waylume/quota"
	"github.com/waylume/waylume/shaping/htb"
	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/kernel/internal/nft"
	"github.com/waylume/waylume/wgnode/kernel/internal/rules"
)

// bringRecords makes the records of all that is wanted: from those that there are, else from what the tables hold.
func (dp *Dataplane) bringRecords(ctx context.Context, want wgnode.State, actual *nft.Actual, adopting bool) (*records, *classes, error) {
	if actual == nil {
		actual = &nft.Actual{}
	}
	next := newRecords()
	c := &classes{tree: dp.tree, node: want.SpeedLimit}
	left := quotasLeft(actual.Objects)
	byAddr := classesOf(actual)
	meterOf := func(name string, old *meter, seed quota.Counters, b quota.Budget) meter {
		now := seed
		if down, ok := actual.Objects[name+endDown]; ok {
			now = quota.Counters{Download: down.Bytes, Upload: actual.Objects[name+endUp].Bytes}
		}
		if old == nil {
			return meter{name: name, seed: now}.adopt(b, now, left)
		}
		m := *old
		if _, ok := actual.Objects[name+endDown]; !ok {
			// The table was taken away: go on from what was last read.
			m = meter{name: name, seed: dp.lastSeen(name, m.seed), generations: m.generations}
			now = m.seed
		} else {
			m.seed = now
		}
		if b != m.budget { // else what was reached meanwhile is its event's to deal with
			m = m.with(b, now)
		}
		for _, q := range []*quotaObject{&m.limit, &m.watch} {
			if _, ok := actual.Objects[q.name]; !ok {
				q.used = now.Of(b.Counted) // it will be made again
			}
		}
		return m
	}
	// A meter that is used up, or past its mark, when it is set is reported like one that gets there.
	report := func(s subject, old *meter, m meter) {
		if old == nil {
			old = &meter{}
		}
		if m.noteworthy(*old, m.seed) {
			dp.pending = append(dp.pending, s)
		}
	}
	for _, state := range want.Accounts {
		old := dp.records.accounts[state.ID]
		a := &account{state: state, meter: meterOf(accountName(state.ID), meterPointer(old), state.Counters, state.Budget)}
		if adopting {
			old = nil
			if class := groupLeft(byAddr, want.Peers, state.ID, dp.tree); grouped(state) && class != 0 {
				ok, err := dp.tree.AdoptGroup(ctx, class, effective(state.SpeedLimit, state.Throttle, &a.meter))
				if err != nil {
					return nil, c, err
				}
				if ok {
					a.group = class
				}
			}
		}
		if a.group == 0 {
			if err := c.group(ctx, old, a); err != nil {
				return nil, c, err
			}
		}
		report(subject{account: state.ID}, meterPointer(dp.records.accounts[state.ID]), a.meter)
		next.setAccount(state.ID, a)
	}
	for _, state := range want.Peers {
		old := dp.records.peers[state.PublicKey]
		p := &peer{state: state, meter: meterOf(peerName(state.PublicKey), peerMeter(old), state.Counters, state.Budget)}
		if a := next.accounts[state.Account]; a != nil {
			p.group = a.group
		}
		if adopting {
			old = nil
			if class := byAddr[firstAddr(state)]; class != 0 && shaped(c.node, state, p.group) {
				ok, err := dp.tree.Adopt(ctx, class, p.group, effective(state.SpeedLimit, state.Throttle, &p.meter))
				if err != nil {
					return nil, c, err
				}
				if ok {
					p.class = class
				}
			}
		}
		if p.class == 0 {
			if err := c.leaf(ctx, old, p); err != nil {
				return nil, c, err
			}
		}
		report(subject{key: state.PublicKey}, peerMeter(dp.records.peers[state.PublicKey]), p.meter)
		next.setPeer(state.PublicKey, p)
	}
	if !adopting {
		for key, p := range dp.records.peers {
			if next.peers[key] == nil && p.class != 0 {
				c.free = append(c.free, p.class)
			}
		}
		for id, a := range dp.records.accounts {
			if next.accounts[id] == nil && a.group != 0 {
				c.free = slices.Insert(c.free, 0, a.group)
			}
		}
	}
	return next, c, nil
}

// outdated reports whether a table that was left has counted less of somebody than is known: the node went on elsewhere
// meanwhile. Counters cannot be set, so nothing of what the table has counted is taken over.
func outdated(left *nft.Actual, want wgnode.State) bool {
	if left == nil {
		return false
	}
	less := func(name string, known quota.Counters) bool {
		down, ok := left.Objects[name+endDown]
		return ok && (down.Bytes < known.Download || left.Objects[name+endUp].Bytes < known.Upload)
	}
	return slices.ContainsFunc(want.Peers, func(p wgnode.PeerState) bool { return less(peerName(p.PublicKey), p.Counters) }) ||
		slices.ContainsFunc(want.Accounts, func(a wgnode.AccountState) bool { return less(accountName(a.ID), a.Counters) })
}

func meterPointer(a *account) *meter {
	if a == nil {
		return nil
	}
	return &a.meter
}

func peerMeter(p *peer) *meter {
	if p == nil {
		return nil
	}
	return &p.meter
}

func firstAddr(p wgnode.PeerState) netip.Addr {
	if len(p.Addrs) == 0 {
		return netip.Addr{}
	}
	return p.Addrs[0]
}

// classesOf reads from the tables which class an address has.
func classesOf(actual *nft.Actual) map[netip.Addr]htb.Class {
	classes := make(map[netip.Addr]htb.Class)
	for _, elements := range rules.ClassElements(actual) {
		for key, value := range elements {
			if addr, ok := netip.AddrFromSlice([]byte(key.Data)); ok && value.Class>>16 == 1 {
				classes[addr] = htb.Class(value.Class)
			}
		}
	}
	return classes
}

// groupLeft finds the class that an account had: the one above a member's.
func groupLeft(byAddr map[netip.Addr]htb.Class, peers []wgnode.PeerState, id string, tree *htb.Tree) htb.Class {
	for _, p := range peers {
		if p.Account != id {
			continue
		}
		if class := byAddr[firstAddr(p)]; class != 0 {
			if parent := tree.Parent(class); parent != 0 {
				return parent
			}
		}
	}
	return 0
}
