package kernel

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/wgnode/kernel/internal/rules"
)

// lookAtQuotas finds quotas that are used up and of which no event came, and those that somebody has set back, so that they would
// let through what was used already: a quota sees each packet before a counter does, so that one which has seen less says too little.
// No change waits for the reading.
func (dp *Dataplane) lookAtQuotas(ctx context.Context) error {
	dp.mu.RLock()
	counted := make(map[string]uint64)
	if dp.life == isRunning {
		dp.records.quotas(func(m *meter, object string) { counted[object] = dp.seen[m.name].Of(m.budget.Counted) })
	}
	dp.mu.RUnlock()
	if len(counted) == 0 {
		return nil
	}
	quotas, err := dp.readQuotas(slices.Collect(maps.Keys(counted)))
	if err != nil {
		return err
	}
	var errs []error
	for object, least := range counted {
		o, ok := quotas[object]
		switch {
		case !ok: // taken away, which has an event of its own
		case o.Used < min(least, o.Bytes): // past its end the kernel says no more than that
			errs = append(errs, dp.quotaSetBack(ctx, object))
		case o.Used >= o.Bytes:
			news, err := dp.quotaUsedUp(ctx, object)
			if news {
				dp.hearing.found(object, time.Now())
			}
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// quotaSetBack makes the quotas of a subject anew, from what its counters say, if one of them has seen less: somebody set it back,
// or packets passed between the reading of the counters and the transaction that made it.
func (dp *Dataplane) quotaSetBack(ctx context.Context, object string) error {
	name, _, _ := subjectOf(object)
	if err := dp.enterQuietly(ctx); err != nil {
		return err
	}
	defer dp.leave()
	who, ok := dp.records.subjects[name]
	if !ok || dp.life != isRunning {
		return nil
	}
	// It may be another peer of the same key by now, or another quota of the same peer.
	m := dp.records.meter(who)
	now, err := dp.counters(name)
	if err != nil {
		return err
	}
	inet, _ := rules.Tables(dp.cfg.Interface)
	if o, ok, err := optional(dp.nft.Object(inet, object, true)); err != nil || !ok || o.Used >= min(now.Of(m.budget.Counted), o.Bytes) {
		return err
	}
	dp.fixed.Logger.Info("a quota has seen less than was counted: it is made anew", "quota", object)
	s := newStep(dp)
	err = s.anew(ctx, who)
	if err == nil {
		forward, _ := s.batches()
		err = dp.commit(ctx, forward)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("make quota %s anew: %w", object, err), s.resume(ctx))
	}
	s.record()
	return nil
}

// anew plans other quotas for a subject, whose packets are held up meanwhile.
func (s *step) anew(ctx context.Context, who subject) error {
	records := s.dp.records
	var peers []*peer
	keys := []wgtypes.Key{who.key}
	if who.account != "" {
		keys = slices.Collect(maps.Keys(records.members[who.account]))
	}
	for _, key := range keys {
		p := *records.peers[key]
		s.peers[key] = &p
		peers = append(peers, records.peers[key])
	}
	var m *meter
	if who.account != "" {
		a := *records.accounts[who.account]
		s.accounts[who.account] = &a
		m = &a.meter
	} else {
		m = &s.peers[who.key].meter
	}
	if !m.blocked() {
		if err := s.pause(ctx, peers...); err != nil {
			return err
		}
	}
	now, err := s.dp.counters(m.name)
	if err == nil {
		*m = m.anew(now)
	}
	return err
}

// quotaUsedUp acts on one quota: what blocks, blocks both ways; a throttle holds; and the node hears of it. News is false when
// there was nothing to do, as that was known.
func (dp *Dataplane) quotaUsedUp(ctx context.Context, object string) (news bool, err error) {
	name, end, ok := subjectOf(object)
	if !ok || end != endLimit && end != endWatch {
		return false, nil
	}
	if err := dp.enterQuietly(ctx); err != nil {
		return false, err
	}
	defer dp.leave()
	who, ok := dp.records.subjects[name]
	if !ok || dp.life != isRunning {
		return false, nil
	}
	return dp.reach(ctx, who, object)
}

// reach acts on a quota that is used up. One that is no longer the subject's means nothing.
func (dp *Dataplane) reach(ctx context.Context, who subject, object string) (news bool, err error) {
	inet, _ := rules.Tables(dp.cfg.Interface)
	// The budget may have been raised, or replaced, since somebody saw it.
	if o, ok, err := optional(dp.nft.Object(inet, object, true)); err != nil || !ok || o.Used < o.Bytes {
		return false, err
	}
	s := newStep(dp)
	if who.account != "" {
		err = s.reachAccount(ctx, who, object)
	} else {
		err = s.reachPeer(ctx, who, object)
	}
	if err == nil && len(s.notes) > 0 {
		forward, _ := s.batches()
		err = dp.commit(ctx, forward)
	}
	if err != nil {
		return false, errors.Join(fmt.Errorf("quota %s is used up: %w", object, err), s.classes.rollback(context.WithoutCancel(ctx)))
	}
	if len(s.notes) == 0 {
		return false, nil
	}
	s.record()
	dp.notify(s.notes)
	return true, s.classes.settle()
}

func (s *step) reachPeer(ctx context.Context, who subject, object string) error {
	old := s.dp.records.peers[who.key]
	next := *old
	reached, err := s.reached(&next.meter, object)
	if err != nil || !reached {
		return err
	}
	s.peers[who.key] = &next
	s.notes = append(s.notes, who)
	return s.classes.leaf(ctx, old, &next)
}

func (s *step) reachAccount(ctx context.Context, who subject, object string) error {
	old := s.dp.records.accounts[who.account]
	next := *old
	reached, err := s.reached(&next.meter, object)
	if err != nil || !reached {
		return err
	}
	s.accounts[who.account] = &next
	s.notes = append(s.notes, who)
	for key := range s.dp.records.members[who.account] {
		p := *s.dp.records.peers[key]
		s.peers[key] = &p
	}
	return s.classes.group(ctx, old, &next)
}

// reached makes a meter one whose quota was used up. It reports false if the quota says nothing about it.
func (s *step) reached(m *meter, object string) (bool, error) {
	now, err := s.dp.counters(m.name)
	if err != nil {
		return false, err
	}
	return m.usedUpQuota(object, now), nil
}
