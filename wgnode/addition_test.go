package wgnode

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// TestPeersAddedTogetherThatNobodyWaitsFor has the contexts of all end while the store writes: each caller hears why its own did.
func TestPeersAddedTogetherThatNobodyWaitsFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startRig(t)
		there := r.add(t, PeerSpec{})
		release, err := r.acquire(t.Context())
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		errs := make(chan error, 2)
		for _, spec := range []PeerSpec{{PublicKey: there.PublicKey}, {PublicKey: newKey(t)}} {
			go func() {
				_, err := r.AddPeer(ctx, spec)
				errs <- err
			}()
			synctest.Wait()
		}
		r.store.set(nil, func([]Mutation) error {
			<-ctx.Done()
			synctest.Wait()
			return nil
		})
		release()
		synctest.Wait()
		time.Sleep(2 * time.Second)
		first, second := <-errs, <-errs
		if first != nil {
			first, second = second, first
		}
		require.NoError(t, first)
		require.ErrorIs(t, second, context.DeadlineExceeded)
		r.store.set(nil, nil)
		r.sound(t)
	})
}

// TestPeersWhoseTimeComesWhileTheyWait: one that is to be new, and one whose predecessor with the same specification is removed
// between the two looks at it.
func TestPeersWhoseTimeComesWhileTheyWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startRig(t)
		spec := PeerSpec{PublicKey: newKey(t), ExpiresAt: time.Now().Add(time.Second)}
		r.add(t, spec)
		release, err := r.acquire(t.Context())
		require.NoError(t, err)
		errs := make(chan error, 3)
		add := func(add func() error) {
			go func() { errs <- add() }()
			synctest.Wait()
		}
		add(func() error {
			_, err := r.AddPeers(t.Context(), []PeerSpec{{ExpiresAt: spec.ExpiresAt}})
			return err
		})
		time.Sleep(2 * time.Second) // the node waits to remove the one that is there
		add(func() error {
			_, err := r.AddPeer(t.Context(), spec)
			return err
		})
		add(func() error {
			_, err := r.AddPeers(t.Context(), []PeerSpec{spec, {}})
			return err
		})
		release()
		synctest.Wait()
		for range 3 {
			err := <-errs
			require.ErrorIs(t, err, ErrInvalid)
			require.ErrorContains(t, err, "ExpiresAt")
		}
		require.Empty(t, slices.Collect(r.Peers(ListOptions{})))
		r.sound(t)
	})
}
