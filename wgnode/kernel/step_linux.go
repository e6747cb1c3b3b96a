package kernel

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/quota"
	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/kernel/internal/nft"
	"github.com/waylume/waylume/wgnode/kernel/internal/rules"
)

// step is one change under way: the records as they will be, beside those that are.
type step struct {
	dp       *Dataplane
	classes  classes
	accounts map[string]*account // nil: removed
	peers    map[wgtypes.Key]*peer
	before   map[wgtypes.Key]*peer // those of the peers that there were
	notes    []subject
	paused   map[rules.Place]nft.Value
}

func newStep(dp *Dataplane) *step {
	return &step{
		dp: dp, classes: classes{tree: dp.tree, node: dp.node}, accounts: make(map[string]*account), peers: make(map[wgtypes.Key]*peer),
		paused: make(map[rules.Place]nft.Value),
	}
}

// plan makes the records of all that the change concerns, and their classes.
func (s *step) plan(ctx context.Context, c wgnode.Change) error {
	records := s.dp.records
	set := make(map[wgtypes.Key]bool, len(c.SetPeers))
	for _, p := range c.SetPeers {
		set[p.PublicKey] = true
	}
	var members []*peer // of accounts that change, and are not named themselves
	for _, state := range c.SetAccounts {
		if err := s.setAccount(ctx, state); err != nil {
			return fmt.Errorf("set account %q: %w", state.ID, err)
		}
		for key := range records.members[state.ID] {
			if !set[key] && !slices.Contains(c.RemovePeers, key) {
				members = append(members, records.peers[key])
			}
		}
	}
	for _, key := range c.RemovePeers {
		if p := records.peers[key]; p != nil {
			s.peers[key] = nil
			if p.class != 0 && !set[key] {
				s.classes.free = append(s.classes.free, p.class)
			}
		}
	}
	for _, p := range members {
		if err := s.setPeer(ctx, p.state); err != nil {
			return err
		}
	}
	for _, state := range c.SetPeers {
		if err := s.setPeer(ctx, state); err != nil {
			return fmt.Errorf("set peer %s: %w", state.PublicKey, err)
		}
	}
	for _, id := range c.RemoveAccounts {
		if a := records.accounts[id]; a != nil {
			s.accounts[id] = nil
			if a.group != 0 {
				s.classes.free = slices.Insert(s.classes.free, 0, a.group)
			}
		}
	}
	return nil
}

func (s *step) setAccount(ctx context.Context, state wgnode.AccountState) error {
	old := s.dp.records.accounts[state.ID]
	next := &account{state: state}
	if old == nil {
		m := meter{name: accountName(state.ID), seed: state.Counters}
		next.meter = m.with(state.Budget, state.Counters)
		s.note(subject{account: state.ID}, meter{}, next.meter, state.Counters)
	} else {
		var members []*peer
		for key := range s.dp.records.members[state.ID] {
			members = append(members, s.dp.records.peers[key])
		}
		var err error
		if next.meter, err = s.meter(ctx, subject{account: state.ID}, old.meter, state.Budget, members...); err != nil {
			return err
		}
	}
	s.accounts[state.ID] = next
	return s.classes.group(ctx, old, next)
}

func (s *step) setPeer(ctx context.Context, state wgnode.PeerState) error {
	old := s.dp.records.peers[state.PublicKey]
	next := &peer{state: state}
	if old == nil {
		m := meter{name: peerName(state.PublicKey), seed: state.Counters}
		next.meter = m.with(state.Budget, state.Counters)
		s.note(subject{key: state.PublicKey}, meter{}, next.meter, state.Counters)
	} else {
		var err error
		if next.meter, err = s.meter(ctx, subject{key: state.PublicKey}, old.meter, state.Budget, old); err != nil {
			return err
		}
		// While an account was blocked, its peers' quotas may have seen what was not delivered.
		if before, after := s.dp.records.accounts[old.state.Account], s.account(state.Account); before != nil && before.meter.blocked() &&
			(after == nil || !after.meter.blocked()) && next.meter.limit.name != "" {
			now, err := s.dp.counters(next.meter.name)
			if err != nil {
				return err
			}
			next.meter = next.meter.afresh(now)
		}
	}
	if a := s.account(state.Account); a != nil {
		next.group = a.group
	}
	s.peers[state.PublicKey] = next
	return s.classes.leaf(ctx, old, next)
}

// account is an account as it will be.
func (s *step) account(id string) *account {
	if a, ok := s.accounts[id]; ok {
		return a
	}
	return s.dp.records.accounts[id]
}

// meter is a meter under another budget. If that needs another quota, the packets of the subject's peers are held up between the
// reading of its counters and the transaction that puts the quota in force: some of them are lost, and no byte is uncounted.
func (s *step) meter(ctx context.Context, who subject, old meter, b quota.Budget, of ...*peer) (meter, error) {
	if old.budget == b {
		return old, nil
	}
	now, err := s.dp.counters(old.name)
	if err != nil {
		return meter{}, err
	}
	if s.dp.wasSetBack(old.name) {
		old.limit, old.watch = quotaObject{}, quotaObject{}
	}
	next := old.with(b, now)
	if next.limit.name != "" && next.limit.name != old.limit.name && !old.blocked() && len(of) > 0 {
		if err := s.pause(ctx, of...); err != nil {
			return meter{}, err
		}
		if now, err = s.dp.counters(old.name); err != nil {
			return meter{}, err
		}
		next = old.with(b, now)
	}
	s.note(who, old, next, now)
	return next, nil
}

func (s *step) note(who subject, old, next meter, now quota.Counters) {
	if next.noteworthy(old, now) {
		s.notes = append(s.notes, who)
	}
}

// pause keeps peers from moving anything until the change is made or given up. Who is blocked already, by a cap of the peer's or its
// account's, is not paused, and stays blocked when the pause ends.
func (s *step) pause(ctx context.Context, peers ...*peer) error {
	fresh := make(map[rules.Place]nft.Value)
	for _, p := range peers {
		if s.dp.records.tablesPeer(p).Blocked {
			continue
		}
		for _, addr := range p.state.Addrs {
			place := rules.Blocked(s.dp.cfg.Interface, addr)
			if _, ok := s.paused[place]; !ok {
				fresh[place] = nft.Value{}
			}
		}
	}
	if err := s.dp.commit(ctx, difference(nil, fresh, nil, nil)); err != nil {
		return err
	}
	maps.Copy(s.paused, fresh)
	return nil
}

// resume ends the pause of a change that was given up.
func (s *step) resume(ctx context.Context) error {
	return s.dp.commit(ctx, difference(s.paused, nil, nil, nil))
}

// batches are the transaction of the change, and the one that undoes it.
func (s *step) batches() (forward, back *nft.Batch) {
	was, is := s.dp.records, s.view()
	before, after := maps.Clone(s.paused), make(map[rules.Place]nft.Value)
	objectsBefore, objectsAfter := make(map[string]nft.Object), make(map[string]nft.Object)
	elements := func(to map[rules.Place]nft.Value, p rules.Peer) {
		s.dp.policy.Elements(s.dp.cfg.Interface, p, func(at rules.Place, v nft.Value) { to[at] = v })
	}
	for key, next := range s.peers {
		old := was.peers[key]
		if old != nil {
			s.atLast(old.meter, next == nil).objects(objectsBefore)
		}
		if next != nil {
			next.meter.objects(objectsAfter)
		}
		switch {
		case next == nil && old == nil:
		case next == nil:
			elements(before, was.tablesPeer(old))
		case old == nil:
			elements(after, is.tablesPeer(next))
		default:
			if from, to := was.tablesPeer(old), is.tablesPeer(next); !from.Equal(to) {
				elements(before, from)
				elements(after, to)
			}
		}
	}
	for id, next := range s.accounts {
		if old := was.accounts[id]; old != nil {
			s.atLast(old.meter, next == nil).objects(objectsBefore)
		}
		if next != nil {
			next.meter.objects(objectsAfter)
		}
	}
	inet, _ := rules.Tables(s.dp.cfg.Interface)
	return difference(before, after, objectsBefore, objectsAfter, inet), difference(after, before, objectsAfter, objectsBefore, inet)
}

// atLast is a meter that goes on from what it has counted, should its removal be undone. That is only possible in a change that
// also puts peers into the device.
func (s *step) atLast(m meter, removed bool) *meter {
	if removed && len(s.entering()) > 0 {
		if now, err := s.dp.counters(m.name); err == nil {
			m.seed = now
			m.limit.used, m.watch.used = now.Of(m.budget.Counted), now.Of(m.budget.Counted)
		}
	}
	return &m
}

// view is as much of the records to come as a peer's elements need: the accounts.
func (s *step) view() *records {
	r := newRecords()
	for _, p := range s.peers {
		if p != nil {
			if a := s.account(p.state.Account); a != nil {
				r.accounts[p.state.Account] = a
			}
		}
	}
	return r
}

// record makes what is planned what is.
func (s *step) record() {
	s.dp.mu.Lock()
	defer s.dp.mu.Unlock()
	r := s.dp.records
	s.before = make(map[wgtypes.Key]*peer, len(s.peers))
	for key := range s.peers {
		if old := r.peers[key]; old != nil {
			s.before[key] = old
		}
	}
	for id, a := range s.accounts {
		r.setAccount(id, a)
		s.dp.forget(accountName(id), a == nil)
	}
	for key, p := range s.peers {
		r.setPeer(key, p)
		s.dp.forget(peerName(key), p == nil)
	}
}
