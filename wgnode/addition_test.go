package wgnode

import (
	"context"
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
