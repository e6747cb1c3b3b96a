package wgnode

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/isolation"
	"github.com/waylume/waylume/quota"
	"github.com/waylume/waylume/shaping"
)

// image is all that can be seen of a node.
type image struct {
	peers    []Peer
	accounts []Account
	usage    map[Subject]Usage
	store    map[recordID]string
	applied  map[wgtypes.Key]PeerState
	ceiling  shaping.Limit
	denied   int
	key      wgtypes.Key
	nodeKey  string // in the store
}

func imageOf(t *testing.T, r *rig) image {
	t.Helper()
	img := image{
		peers:    slices.Collect(r.Peers(ListOptions{})),
		accounts: slices.Collect(r.Accounts(ListOptions{})),
		usage:    make(map[Subject]Usage),
		store:    make(map[recordID]string),
		applied:  make(map[wgtypes.Key]PeerState),
		ceiling:  r.dataplane.speedLimit,
		denied:   len(r.dataplane.policy.Deny),
		key:      r.keyNow(t),
	}
	for _, p := range img.peers {
		img.usage[OfPeer(p.PublicKey)] = r.used(t, OfPeer(p.PublicKey))
		state, _ := r.dataplane.peer(p.PublicKey)
		state.Counters = quota.Counters{}
		img.applied[p.PublicKey] = state
	}
	for _, a := range img.accounts {
		img.usage[OfAccount(a.ID)] = r.used(t, OfAccount(a.ID))
	}
	for _, record := range r.store.snapshot() {
		// Usage is stored when it is convenient, and a sequence that was never given may be skipped.
		if record.Kind == RecordPeer || record.Kind == RecordAccount {
			img.store[recordID{record.Kind, record.Key}] = string(record.Value)
		}
		if record.Key == nodeKeyRecord {
			img.nodeKey = string(record.Value)
		}
	}
	return img
}

// fault strikes at one call of the store or the dataplane.
type fault struct {
	at     int64 // 0 is the first call
	calls  atomic.Int64
	strike func() error
}

func (f *fault) hit() error {
	if f.calls.Add(1)-1 == f.at {
		return f.strike()
	}
	return nil
}

// TestFaults makes every call that every operation makes fail, in every way: refused; made and then reported as failed;
// refused because the caller's context ends there. The node is then as it was before, and the operation can be repeated.
func TestFaults(t *testing.T) {
	var fresh, other, known wgtypes.Key
	operations := map[string]func(ctx context.Context, r *rig) error{
		"AddPeer": func(ctx context.Context, r *rig) error {
			_, err := r.AddPeer(ctx, PeerSpec{PublicKey: fresh, Account: "acme", DataCap: capOf(10)})
			return err
		},
		"AddPeers": func(ctx context.Context, r *rig) error {
			_, err := r.AddPeers(ctx, []PeerSpec{{PublicKey: fresh, Account: "acme"}, {PublicKey: other, DataCap: capOf(10)}})
			return err
		},
		"RemovePeers": func(ctx context.Context, r *rig) error { return r.RemovePeers(ctx, []wgtypes.Key{known}) },
		"RemovePeer":  func(ctx context.Context, r *rig) error { return r.RemovePeer(ctx, known) },
		"PutAccount, new": func(ctx context.Context, r *rig) error {
			_, err := r.PutAccount(ctx, AccountSpec{ID: "new"})
			return err
		},
		"PutAccount, changed": func(ctx context.Context, r *rig) error {
			_, err := r.PutAccount(ctx, AccountSpec{ID: "acme", DataCap: capOf(77_000)})
			return err
		},
		"RemoveAccount": func(ctx context.Context, r *rig) error { return r.RemoveAccount(ctx, "empty") },
		"SetSpeedLimit": func(ctx context.Context, r *rig) error {
			return r.SetSpeedLimit(ctx, OfPeer(known), shaping.Limit{Upload: 8_000})
		},
		"SetDataCap": func(ctx context.Context, r *rig) error { return r.SetDataCap(ctx, OfAccount("acme"), capOf(5_000)) },
		"TopUp":      func(ctx context.Context, r *rig) error { return r.TopUp(ctx, OfPeer(known), 5_000) },
		"ResetUsage": func(ctx context.Context, r *rig) error { return r.ResetUsage(ctx, OfPeer(known)) },
		"RotateKey": func(ctx context.Context, r *rig) error {
			_, err := r.RotateKey(ctx, KeyRotation{})
			return err
		},
		"RotateKey with an overlap": func(ctx context.Context, r *rig) error {
			_, err := r.RotateKey(ctx, KeyRotation{Overlap: time.Hour})
			return err
		},
		"SetPolicy": func(ctx context.Context, r *rig) error {
			return r.SetPolicy(ctx, isolation.Policy{Deny: []isolation.Rule{{Protocol: isolation.UDP}}})
		},
		"SetNodeSpeedLimit": func(ctx context.Context, r *rig) error {
			return r.SetNodeSpeedLimit(ctx, shaping.Limit{Upload: 8_000})
		},
	}
	ways := map[string]func(r *rig, f *fault){
		"refused": func(r *rig, f *fault) {
			r.dataplane.setHook(func(context.Context, string) error { return f.hit() })
			r.store.set(func([]Mutation) error { return f.hit() }, nil)
		},
		"store lies": func(r *rig, f *fault) {
			r.store.set(nil, func([]Mutation) error { return f.hit() })
		},
	}
	for name, operate := range operations {
		for way, arm := range ways {
			for _, cancelled := range []bool{false, true} {
				label := name + ", " + way
				if cancelled {
					label += ", context ended"
				}
				t.Run(label, func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						fresh, other, known = newKey(t), newKey(t), newKey(t)
						strikeEverywhere(t, operate, arm, cancelled, known)
					})
				})
			}
		}
	}
}

func strikeEverywhere(t *testing.T, operate func(context.Context, *rig) error, arm func(*rig, *fault), cancelled bool, known wgtypes.Key) {
	t.Helper()
	for at := int64(0); ; at++ {
		require.Less(t, at, int64(10), "the operation makes calls without end")
		r := startRig(t)
		for _, id := range []string{"acme", "empty"} {
			_, err := r.PutAccount(t.Context(), AccountSpec{ID: id, DataCap: capOf(100_000)})
			require.NoError(t, err)
		}
		r.add(t, PeerSpec{PublicKey: known, Account: "acme", DataCap: capOf(9_000)})
		require.True(t, r.dataplane.move(known, quota.Download, 1_000))
		synctest.Wait()
		before := imageOf(t, r)

		ctx, cancel := context.WithCancel(t.Context())
		f := &fault{at: at, strike: func() error {
			if cancelled {
				cancel()
			}
			return errInjected
		}}
		arm(r, f)
		err := operate(ctx, r)
		cancel()
		r.dataplane.setHook(nil)
		r.store.set(nil, nil)
		struck := f.calls.Load() > at

		time.Sleep(DefaultSyncPeriod + DefaultCheckpointPeriod) // what is owed is paid
		synctest.Wait()
		require.Empty(t, r.owed)
		r.sound(t)
		if err != nil { // else it was not struck, or where it does no harm: counters are read for an event
			require.True(t, struck, "failed by itself: %v", err)
			if !cancelled {
				require.ErrorIs(t, err, errInjected)
			}
			require.Equal(t, before, imageOf(t, r), "call %d", at)
			require.NoError(t, operate(t.Context(), r), "it can be done now")
		}
		require.NotEqual(t, before, imageOf(t, r))
		r.sound(t)
		r.again(t).sound(t)
		if !struck {
			return
		}
	}
}

// TestFailedUndoIsMendedLater has the dataplane refuse a peer's restoration after the store refused its removal.
func TestFailedUndoIsMendedLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startRig(t)
		key := r.add(t, PeerSpec{}).PublicKey
		applied := 0
		r.dataplane.setHook(func(_ context.Context, call string) error {
			if call == "Apply" {
				if applied++; applied > 1 {
					return errInjected
				}
			}
			return nil
		})
		r.store.set(func([]Mutation) error { return errInjected }, nil)
		err := r.RemovePeer(t.Context(), key)
		require.ErrorContains(t, err, "write to store: injected fault")
		require.ErrorContains(t, err, "undo apply to dataplane: injected fault")
		_, err = r.Peer(key)
		require.NoError(t, err)
		synctest.Wait()
		require.Contains(t, r.kinds(), Repaired, "a sync follows at once")
		r.store.set(nil, nil)
		r.dataplane.setHook(nil)
		time.Sleep(DefaultCheckpointPeriod)
		synctest.Wait()
		r.sound(t)
	})
}

// TestUnwindingOutlivesTheCaller cancels the caller's context while the dataplane refuses a new peer: the record that was
// stored is taken back all the same.
func TestUnwindingOutlivesTheCaller(t *testing.T) {
	r := startRig(t)
	ctx, cancel := context.WithCancel(t.Context())
	r.dataplane.setHook(func(ctx context.Context, call string) error {
		if call != "Apply" {
			return nil
		}
		cancel()
		return ctx.Err()
	})
	_, err := r.AddPeer(ctx, PeerSpec{})
	require.ErrorIs(t, err, context.Canceled)
	require.Empty(t, r.owed)
	r.sound(t)
}

// TestHungDataplaneDoesNotKeepTheSlot has a background sync hang until its time is over.
func TestHungDataplaneDoesNotKeepTheSlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startRig(t)
		r.dataplane.setHook(func(ctx context.Context, call string) error {
			if call == "Sync" {
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		})
		time.Sleep(DefaultSyncPeriod + time.Second)
		begun := time.Now()
		r.add(t, PeerSpec{})
		require.Less(t, time.Since(begun), taskTimeout+time.Second)
	})
}
