package wgnode

import (
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/quota"
	"github.com/waylume/waylume/shaping"
)

// TestConcurrentUse has goroutines do everything at once, and close the node under them. What the race detector does not
// see, sound does.
func TestConcurrentUse(t *testing.T) {
	r := startRig(t, func(c *Config) { c.EventBuffer = 16 })
	keys := make([]wgtypes.Key, 8)
	for i := range keys {
		keys[i] = newKey(t)
	}
	accounts := []string{"a", "b"}
	expected := func(err error) bool {
		for _, ok := range []error{nil, ErrNotFound, ErrExists, ErrInvalid, ErrAccountInUse, ErrClosed} {
			if errors.Is(err, ok) {
				return true
			}
		}
		return false
	}
	ctx := t.Context()
	operations := []func(*rand.Rand) error{
		func(g *rand.Rand) error {
			_, err := r.AddPeer(ctx, PeerSpec{PublicKey: keys[g.IntN(len(keys))], Account: accounts[g.IntN(2)], DataCap: capOf(10_000),
				ExpiresAt: time.Now().Add(time.Duration(1+g.IntN(20)) * time.Millisecond)})
			return err
		},
		func(g *rand.Rand) error { return r.RemovePeer(ctx, keys[g.IntN(len(keys))]) },
		func(g *rand.Rand) error {
			_, err := r.PutAccount(ctx, AccountSpec{ID: accounts[g.IntN(2)], DataCap: capOf(quota.Bytes(g.IntN(3) * 10_000))})
			return err
		},
		func(g *rand.Rand) error { return r.RemoveAccount(ctx, accounts[g.IntN(2)]) },
		func(g *rand.Rand) error {
			return r.SetSpeedLimit(ctx, OfPeer(keys[g.IntN(len(keys))]), shaping.Limit{Upload: shaping.Rate(8_000 * (1 + g.IntN(3)))})
		},
		func(g *rand.Rand) error { return r.TopUp(ctx, OfAccount(accounts[g.IntN(2)]), 100) },
		func(g *rand.Rand) error { return r.ResetUsage(ctx, OfPeer(keys[g.IntN(len(keys))])) },
		func(g *rand.Rand) error { _, err := r.Usage(ctx, OfAccount(accounts[g.IntN(2)])); return err },
		func(g *rand.Rand) error { _, err := r.Peer(keys[g.IntN(len(keys))]); return err },
		func(*rand.Rand) error { _, err := r.Sync(ctx); return err },
		func(*rand.Rand) error { _, err := r.Status(ctx); return err },
		func(*rand.Rand) error { _, err := r.AllPeerStats(ctx); return err },
		func(g *rand.Rand) error {
			for p := range r.Peers(ListOptions{Account: accounts[g.IntN(2)]}) {
				if _, err := r.ClientConfig(p.PublicKey, wgtypes.Key{}); !expected(err) {
					return err
				}
			}
			return nil
		},
		func(g *rand.Rand) error {
			for range 20 {
				r.dataplane.move(keys[g.IntN(len(keys))], quota.Download, 1+g.IntN(1400))
			}
			return nil
		},
	}
	operations = append(operations, lifecycleOperations(t, r, keys, accounts)...)
	var wg sync.WaitGroup
	var stop atomic.Bool
	for i := range 8 {
		wg.Go(func() {
			g := rand.New(rand.NewPCG(uint64(i), 1))
			for !stop.Load() {
				if err := operations[g.IntN(len(operations))](g); !expected(err) {
					t.Errorf("unexpected: %v", err)
					return
				}
			}
		})
	}
	wg.Go(func() {
		sub, last := r.SubscribeAfter(0), uint64(0)
		for e := range sub.All(ctx) {
			if e.Kind == Missed {
				last += e.Count
			} else {
				last++
			}
			if last != e.Sequence {
				t.Errorf("event %d follows %d", e.Sequence, last)
				return
			}
		}
	})
	for range 20 {
		time.Sleep(5 * time.Millisecond)
		release, err := r.acquire(ctx)
		require.NoError(t, err)
		_, err = r.read(ctx, StatsQuery{All: true})
		require.NoError(t, err)
		require.NoError(t, r.enforce(ctx, r.staleOnes()))
		r.sound(t)
		release()
	}
	require.NoError(t, r.Close())
	stop.Store(true)
	wg.Wait()
	next := newRig(t, r.store)
	require.NoError(t, next.Start(ctx))
	next.sound(t)
}

// staleOnes are the entities whose budget the dataplane does not have yet.
func (r *rig) staleOnes() []entity {
	var stale []entity
	for e := range r.inv.entities {
		if e.common().stale() {
			stale = append(stale, e)
		}
	}
	return stale
}
