package wgnode

import (
	"context"
	"slices"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func drawGracePeriod(rt *rapid.T) time.Duration {
	return rapid.SampledFrom([]time.Duration{0, 0, 3 * time.Hour, 40 * time.Hour}).Draw(rt, "grace period")
}

func drawIdleTimeout(rt *rapid.T) time.Duration {
	return rapid.SampledFrom([]time.Duration{0, 0, 2 * time.Hour, 30 * time.Hour}).Draw(rt, "idle timeout")
}

func (d *driver) suspend(rt *rapid.T, on bool) {
	s := d.drawSubject(rt)
	call := d.rig.Resume
	if on {
		call = d.rig.Suspend
	}
	d.set(rt, s, nil, func(ctx context.Context) error { return call(ctx, s) }, func(*modelTally) {
		d.model.change(func() {
			if key, ok := s.Peer(); ok {
				d.model.peer(key).suspended = on
			} else {
				id, _ := s.Account()
				d.model.account(id).suspended = on
			}
		})
	})
}

func (d *driver) rekeyPeer(rt *rapid.T) {
	from, to := d.drawKey(rt), d.drawKey(rt)
	p, other := d.model.peer(from), d.model.peer(to)
	again := p == nil && other != nil && other.former == from
	var want error
	switch {
	case p == nil && !again:
		want = ErrNotFound
	case p != nil && other != nil && other != p:
		want = ErrExists
	}
	var got RekeyedPeer
	made := d.attempt(rt, want, func(ctx context.Context) (err error) {
		got, err = d.rig.RekeyPeer(ctx, from, PeerKeys{PublicKey: to})
		return err
	})
	if !made {
		return
	}
	require.Equal(rt, to, got.PublicKey)
	require.Equal(rt, from, got.FormerKey)
	if !again && other == nil {
		p.spec.PublicKey, p.former, p.idle = to, from, 0
	}
}

func (d *driver) rekeyAccount(rt *rapid.T) {
	id := drawAccount(rt)
	var want error
	if d.model.account(id) == nil {
		want = ErrNotFound
	}
	var got []RekeyedPeer
	made := d.attempt(rt, want, func(ctx context.Context) (err error) {
		got, err = d.rig.RekeyAccount(ctx, id)
		return err
	})
	if !made {
		return
	}
	members := d.model.members(id)
	require.Len(rt, got, len(members))
	for i, p := range members {
		require.Equal(rt, p.spec.PublicKey, got[i].FormerKey)
		require.Equal(rt, got[i].PrivateKey.PublicKey(), got[i].PublicKey)
		p.spec.PublicKey, p.former, p.idle = got[i].PublicKey, got[i].FormerKey, 0
	}
}

func (d *driver) drawDestination(rt *rapid.T) (id string, want error) {
	if rapid.Bool().Draw(rt, "out") {
		return "", nil
	}
	id = drawAccount(rt)
	if d.model.account(id) == nil {
		want = ErrInvalid
	}
	return id, want
}

func (d *driver) move(rt *rapid.T, s Subject, to string, want error, call func(context.Context) error) {
	peers, ok := d.model.targets(s)
	if !ok {
		want = ErrNotFound
	}
	if d.attempt(rt, want, call) {
		d.model.change(func() {
			for _, p := range peers {
				p.spec.Account = to
			}
		})
	}
}

func (d *driver) movePeer(rt *rapid.T) {
	key := d.drawKey(rt)
	to, want := d.drawDestination(rt)
	d.move(rt, OfPeer(key), to, want, func(ctx context.Context) error { return d.rig.MovePeer(ctx, key, to) })
}

func (d *driver) movePeers(rt *rapid.T) {
	from := drawAccount(rt)
	to, want := d.drawDestination(rt)
	d.move(rt, OfAccount(from), to, want, func(ctx context.Context) error { return d.rig.MovePeers(ctx, from, to) })
}

func (d *driver) removeWithPeers(rt *rapid.T) {
	id := drawAccount(rt)
	var want error
	if d.model.account(id) == nil {
		want = ErrNotFound
	}
	if d.attempt(rt, want, func(ctx context.Context) error { return d.rig.RemoveAccountAndPeers(ctx, id) }) {
		d.model.peers = slices.DeleteFunc(d.model.peers, func(p *modelPeer) bool { return p.spec.Account == id })
		d.model.accounts = slices.DeleteFunc(d.model.accounts, func(a *modelAccount) bool { return a.spec.ID == id })
	}
}

// setTimes changes something of a subject's peers.
func (d *driver) setTimes(rt *rapid.T, s Subject, want error, call func(context.Context) error, change func(*modelPeer)) {
	peers, ok := d.model.targets(s)
	if !ok {
		want = ErrNotFound
	}
	if d.attempt(rt, want, call) {
		d.model.change(func() {
			for _, p := range peers {
				change(p)
			}
		})
	}
	// A fault may have struck what the node then does of its own accord: it tries again.
	time.Sleep(retryDelay + time.Second)
}

func (d *driver) setExpiry(rt *rapid.T) {
	s := d.drawSubject(rt)
	var at time.Time
	if hours := rapid.IntRange(-1, 50).Draw(rt, "hours"); hours != 0 {
		at = time.Now().UTC().Add(time.Duration(hours) * time.Hour)
	}
	var want error
	peers, _ := d.model.targets(s)
	if !at.IsZero() && at.Before(time.Now()) && len(peers) > 0 {
		want = ErrInvalid
	}
	d.setTimes(rt, s, want, func(ctx context.Context) error { return d.rig.SetExpiry(ctx, s, at) }, func(p *modelPeer) {
		if !p.spec.ExpiresAt.Equal(at) {
			p.spec.ExpiresAt, p.lapsed = at, false
		}
	})
}

func (d *driver) setGracePeriod(rt *rapid.T) {
	s, grace := d.drawSubject(rt), drawGracePeriod(rt)
	d.setTimes(rt, s, nil, func(ctx context.Context) error { return d.rig.SetGracePeriod(ctx, s, grace) },
		func(p *modelPeer) { p.spec.GracePeriod = grace })
}

func (d *driver) setIdleTimeout(rt *rapid.T) {
	s, timeout := d.drawSubject(rt), drawIdleTimeout(rt)
	d.setTimes(rt, s, nil, func(ctx context.Context) error { return d.rig.SetIdleTimeout(ctx, s, timeout) },
		func(p *modelPeer) { p.spec.IdleTimeout = timeout })
}

// shake has a peer shake hands, and lets the node see it, before anything happens that would make it forgotten.
func (d *driver) shake(rt *rapid.T) {
	key := d.drawKey(rt)
	p := d.model.peer(key)
	require.Equal(rt, p != nil && d.model.active(p), d.rig.dataplane.shake(key))
	if p != nil && d.model.active(p) {
		p.idle = 0
	}
	time.Sleep(d.rig.cfg.CheckpointPeriod + time.Second)
	synctest.Wait()
}
