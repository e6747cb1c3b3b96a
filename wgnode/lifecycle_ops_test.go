package wgnode

import (
	"context"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

// TestLifecycleFaults is TestFaults for the operations that interrupt, move and rekey.
func TestLifecycleFaults(t *testing.T) {
	var known, fresh wgtypes.Key
	member, acme := func() Subject { return OfPeer(known) }, OfAccount("acme")
	operations := map[string]func(ctx context.Context, r *rig) error{
		"Suspend peer":    func(ctx context.Context, r *rig) error { return r.Suspend(ctx, member()) },
		"Suspend account": func(ctx context.Context, r *rig) error { return r.Suspend(ctx, acme) },
		"RekeyPeer": func(ctx context.Context, r *rig) error {
			_, err := r.RekeyPeer(ctx, known, PeerKeys{PublicKey: fresh, PresharedKey: &wgtypes.Key{1}})
			return err
		},
		"RekeyAccount": func(ctx context.Context, r *rig) error {
			_, err := r.RekeyAccount(ctx, "acme")
			return err
		},
		"MovePeer":              func(ctx context.Context, r *rig) error { return r.MovePeer(ctx, known, "empty") },
		"MovePeers":             func(ctx context.Context, r *rig) error { return r.MovePeers(ctx, "acme", "") },
		"RemoveAccountAndPeers": func(ctx context.Context, r *rig) error { return r.RemoveAccountAndPeers(ctx, "acme") },
		"SetExpiry": func(ctx context.Context, r *rig) error {
			return r.SetExpiry(ctx, acme, time.Now().Truncate(24*time.Hour).Add(72*time.Hour))
		},
		"SetGracePeriod": func(ctx context.Context, r *rig) error { return r.SetGracePeriod(ctx, member(), time.Hour) },
		"SetIdleTimeout": func(ctx context.Context, r *rig) error { return r.SetIdleTimeout(ctx, acme, time.Hour) },
	}
	ways := map[string]func(r *rig, f *fault){
		"refused": func(r *rig, f *fault) {
			r.dataplane.setHook(func(context.Context, string) error { return f.hit() })
			r.store.set(func([]Mutation) error { return f.hit() }, nil)
		},
		"store lies": func(r *rig, f *fault) { r.store.set(nil, func([]Mutation) error { return f.hit() }) },
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
						known, fresh = newKey(t), newKey(t)
						strikeEverywhere(t, operate, arm, cancelled, known)
					})
				})
			}
		}
	}
}

// lifecycleOperations are for TestConcurrentUse.
func lifecycleOperations(t *testing.T, r *rig, keys []wgtypes.Key, accounts []string) []func(*rand.Rand) error {
	ctx := t.Context()
	key := func(g *rand.Rand) wgtypes.Key { return keys[g.IntN(len(keys))] }
	account := func(g *rand.Rand) string { return accounts[g.IntN(len(accounts))] }
	subject := func(g *rand.Rand) Subject {
		if g.IntN(2) == 0 {
			return OfPeer(key(g))
		}
		return OfAccount(account(g))
	}
	some := func(g *rand.Rand) time.Duration { return time.Duration(g.IntN(30)) * time.Millisecond }
	return []func(*rand.Rand) error{
		func(g *rand.Rand) error { return r.Suspend(ctx, subject(g)) },
		func(g *rand.Rand) error { return r.Resume(ctx, subject(g)) },
		func(g *rand.Rand) error { return r.Resume(ctx, subject(g)) },
		func(g *rand.Rand) error {
			_, err := r.RekeyPeer(ctx, key(g), PeerKeys{PublicKey: key(g)})
			return err
		},
		func(g *rand.Rand) error { return r.MovePeer(ctx, key(g), account(g)) },
		func(g *rand.Rand) error { return r.MovePeers(ctx, account(g), account(g)) },
		func(g *rand.Rand) error { return r.SetExpiry(ctx, subject(g), time.Now().Add(some(g))) },
		func(g *rand.Rand) error { return r.SetGracePeriod(ctx, subject(g), some(g)) },
		func(g *rand.Rand) error { return r.SetIdleTimeout(ctx, subject(g), MinIdleTimeout+some(g)) },
		func(g *rand.Rand) error {
			if g.IntN(10) > 0 {
				return nil
			}
			return r.RemoveAccountAndPeers(ctx, account(g))
		},
	}
}
