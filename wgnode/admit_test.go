package wgnode

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

// gate is an Admit that counts, and refuses peers that have a label "refused".
type gate struct {
	mu    sync.Mutex
	asked []wgtypes.Key
	// inside are the additions that were admitted and have not ended.
	inside atomic.Int64
	// during is called while an addition is inside; it may be nil.
	during func()
}

func (g *gate) admit(_ context.Context, specs []PeerSpec) (func(), error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, s := range specs {
		g.asked = append(g.asked, s.PublicKey)
		if s.Labels["refused"] != "" {
			return nil, errInjected
		}
	}
	g.inside.Add(1)
	if g.during != nil {
		g.during()
	}
	return func() { g.inside.Add(-1) }, nil
}

func withGate(g *gate) func(*Config) { return func(c *Config) { c.Admit = g.admit } }

// TestAdmitIsAskedForEachAddition adds peers each way there is; those that are refused leave nothing.
func TestAdmitIsAskedForEachAddition(t *testing.T) {
	g := new(gate)
	r := startRig(t, withGate(g))
	refused := map[string]string{"refused": "yes"}

	added, err := r.AddPeer(t.Context(), PeerSpec{})
	require.NoError(t, err)
	require.Equal(t, []wgtypes.Key{added.PublicKey}, g.asked, "the key that the node made")

	_, err = r.AddPeer(t.Context(), PeerSpec{Labels: refused})
	require.ErrorIs(t, err, ErrNotAdmitted)
	require.ErrorIs(t, err, errInjected)
	var op *OpError
	require.ErrorAs(t, err, &op)

	_, err = r.AddPeers(t.Context(), []PeerSpec{{}, {}})
	require.NoError(t, err)
	require.Len(t, g.asked, 4)
	_, err = r.AddPeers(t.Context(), []PeerSpec{{}, {Labels: refused}})
	require.ErrorIs(t, err, ErrNotAdmitted)
	require.Len(t, slices.Collect(r.Peers(ListOptions{})), 3)
	require.Zero(t, g.inside.Load())

	asked := len(g.asked)
	_, err = r.AddPeer(t.Context(), PeerSpec{Name: string(make([]byte, MaxNameLen+1))})
	require.ErrorIs(t, err, ErrInvalid)
	_, err = r.AddPeers(t.Context(), nil)
	require.NoError(t, err)
	require.Len(t, g.asked, asked, "what is not valid is not asked about")

	next := r.again(t, withGate(g))
	require.Len(t, slices.Collect(next.Peers(ListOptions{})), 3)
	require.Len(t, g.asked, asked, "nor is what was there")
}

// TestAdmittedUntilTheEnd has additions end in all ways, and be inside until then.
func TestAdmittedUntilTheEnd(t *testing.T) {
	g := new(gate)
	r := startRig(t, withGate(g))
	known, err := r.AddPeer(t.Context(), PeerSpec{})
	require.NoError(t, err)

	// A hook may call the node: here it removes the peer that is in the way.
	g.during = func() { require.NoError(t, r.RemovePeer(t.Context(), known.PublicKey)) }
	_, err = r.AddPeer(t.Context(), PeerSpec{PublicKey: known.PublicKey, Name: "other"})
	require.NoError(t, err)
	g.during = nil

	_, err = r.AddPeer(t.Context(), PeerSpec{PublicKey: known.PublicKey})
	require.ErrorIs(t, err, ErrExists)
	require.Zero(t, g.inside.Load())

	release, err := r.acquire(t.Context())
	require.NoError(t, err)
	ctx, cancel := context.WithCancelCause(t.Context())
	ended := make(chan error)
	go func() {
		_, err := r.AddPeer(ctx, PeerSpec{})
		ended <- err
	}()
	require.Eventually(t, func() bool { return g.inside.Load() == 1 }, 10*time.Second, time.Millisecond)
	cause := errors.New("given up")
	cancel(cause)
	require.ErrorIs(t, <-ended, cause)
	require.Zero(t, g.inside.Load())
	release()
}

// TestAdmitOfManyAtOnce adds peers from many goroutines.
func TestAdmitOfManyAtOnce(t *testing.T) {
	g := new(gate)
	r := startRig(t, withGate(g))
	var tasks sync.WaitGroup
	var failed atomic.Int64
	for i := range 40 {
		tasks.Go(func() {
			var err error
			if i%2 == 0 {
				_, err = r.AddPeer(t.Context(), PeerSpec{})
			} else {
				_, err = r.AddPeers(t.Context(), []PeerSpec{{}, {}})
			}
			if err != nil {
				failed.Add(1)
			}
		})
	}
	tasks.Wait()
	require.Zero(t, failed.Load())
	require.Len(t, slices.Collect(r.Peers(ListOptions{})), 60)
	require.Len(t, g.asked, 60)
	require.Zero(t, g.inside.Load())
}
