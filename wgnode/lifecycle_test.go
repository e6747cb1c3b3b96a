package wgnode

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

func TestLifecycle(t *testing.T) {
	ctx := t.Context()
	start := func(r *rig) error { return r.Start(ctx) }
	closeIt := func(r *rig) error { return r.Close() }
	wait := func(r *rig) error { return r.Wait() }
	add := func(r *rig) error { _, err := r.AddPeer(ctx, PeerSpec{}); return err }
	get := func(r *rig) error { _, err := r.Peer(wgtypes.Key{1}); return err }
	usage := func(r *rig) error { _, err := r.Usage(ctx, OfAccount("a")); return err }
	syncIt := func(r *rig) error { _, err := r.Sync(ctx); return err }

	type call struct {
		do   func(*rig) error
		want error
	}
	tests := map[string]struct {
		calls []call
		state string
	}{
		"new":                {nil, "idle"},
		"started":            {[]call{{start, nil}}, "running"},
		"close before start": {[]call{{closeIt, nil}, {wait, nil}, {start, ErrClosed}}, "closed"},
		"close twice":        {[]call{{start, nil}, {closeIt, nil}, {closeIt, nil}, {wait, nil}}, "closed"},
		"start twice":        {[]call{{start, nil}, {start, ErrStarted}, {add, nil}}, "running"},
		"start after close":  {[]call{{start, nil}, {closeIt, nil}, {start, ErrClosed}}, "closed"},
		"use before start": {[]call{{add, ErrNotStarted}, {get, ErrNotStarted}, {usage, ErrNotStarted},
			{syncIt, ErrNotStarted}}, "idle"},
		"use after close": {[]call{{start, nil}, {closeIt, nil}, {add, ErrClosed}, {get, ErrClosed}, {usage, ErrClosed},
			{syncIt, ErrClosed}}, "closed"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, newFaultyStore())
			for i, call := range test.calls {
				require.ErrorIs(t, call.do(r), call.want, "call %d", i)
			}
			status, err := r.Status(ctx)
			require.NoError(t, err)
			require.Equal(t, test.state, status.State)
			require.NoError(t, r.Close())
			require.Equal(t, 1, r.dataplane.count("Close"))
			for range r.Peers(ListOptions{}) {
				require.Fail(t, "a closed node lists peers")
			}
		})
	}
}

// TestFailedStartLeavesNothing makes each step of a start fail, and starts again.
func TestFailedStartLeavesNothing(t *testing.T) {
	tests := map[string]struct {
		fail func(*rig)
		heal func(*rig)
	}{
		"store": {
			func(r *rig) { r.store.set(func([]Mutation) error { return errInjected }, nil) },
			func(r *rig) { r.store.set(nil, nil) },
		},
		"store after it committed": {
			func(r *rig) { r.store.set(nil, func([]Mutation) error { return errInjected }) },
			func(r *rig) { r.store.set(nil, nil) },
		},
		"dataplane": {
			func(r *rig) { r.dataplane.setHook(func(context.Context, string) error { return errInjected }) },
			func(r *rig) { r.dataplane.setHook(nil) },
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, newFaultyStore())
			test.fail(r)
			require.ErrorIs(t, r.Start(t.Context()), errInjected)
			require.ErrorIs(t, r.life.check(), ErrNotStarted)
			require.Empty(t, r.drain())
			if name == "dataplane" {
				require.Empty(t, r.store.snapshot(), "a key was stored for a node that never ran")
			}
			test.heal(r)
			require.NoError(t, r.Start(t.Context()))
			r.add(t, PeerSpec{})
			r.sound(t)
		})
	}
}

// TestStartThatCouldNotBeTakenBack has the store fail when the key of a node that did not start is to be deleted: the next
// start uses that key, and keeps it.
func TestStartThatCouldNotBeTakenBack(t *testing.T) {
	r := newRig(t, newFaultyStore())
	r.dataplane.setHook(func(context.Context, string) error {
		r.store.set(func([]Mutation) error { return errInjected }, nil)
		return errInjected
	})
	require.ErrorContains(t, r.Start(t.Context()), "undo write to store")
	require.Len(t, r.store.snapshot(), 1)
	r.dataplane.setHook(nil)
	r.store.set(nil, nil)
	require.NoError(t, r.Start(t.Context()))
	r.add(t, PeerSpec{})
	require.Equal(t, r.up.publicKey, r.again(t).up.publicKey)
}

func TestStartHeedsItsContext(t *testing.T) {
	r := newRig(t, newFaultyStore())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, r.Start(ctx), context.Canceled)

	ctx, cancel = context.WithCancel(t.Context())
	require.NoError(t, r.Start(ctx))
	cancel() // the start is over: the node lives on
	r.add(t, PeerSpec{})
}

func TestConcurrentStartAndClose(t *testing.T) {
	for range 50 {
		r := newRig(t, newFaultyStore())
		var wg sync.WaitGroup
		errs := make(chan error, 2)
		for range 2 {
			wg.Go(func() { errs <- r.Start(t.Context()) })
		}
		for range 3 {
			wg.Go(func() {
				if err := r.Close(); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		for range 2 {
			if err := <-errs; err != nil && !errors.Is(err, ErrStarted) && !errors.Is(err, ErrClosed) &&
				!errors.Is(err, context.Canceled) {
				require.NoError(t, err)
			}
		}
		require.NoError(t, r.Wait())
		require.Equal(t, 1, r.dataplane.count("Close"))
	}
}

// TestCloseDuringStart closes a node whose dataplane takes for ever to start.
func TestCloseDuringStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, newFaultyStore())
		r.dataplane.setHook(func(ctx context.Context, call string) error {
			if call != "Start" {
				return nil
			}
			<-ctx.Done()
			return ctx.Err()
		})
		started := make(chan error, 1)
		go func() { started <- r.Start(t.Context()) }()
		synctest.Wait()
		require.NoError(t, r.Close())
		require.ErrorIs(t, <-started, context.Canceled)
		require.NoError(t, r.Wait())
	})
}

func TestCloseFinishesTheChangeUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startRig(t)
		r.dataplane.setHook(func(_ context.Context, call string) error {
			if call == "Apply" {
				time.Sleep(time.Second)
			}
			return nil
		})
		key := newKey(t)
		added, waiting := make(chan error, 1), make(chan error, 1)
		go func() { _, err := r.AddPeer(t.Context(), PeerSpec{PublicKey: key}); added <- err }()
		synctest.Wait()
		go func() { _, err := r.AddPeer(t.Context(), PeerSpec{}); waiting <- err }()
		synctest.Wait()
		require.NoError(t, r.Close())
		require.NoError(t, <-added)
		require.ErrorIs(t, <-waiting, ErrClosed)

		next := newRig(t, r.store)
		require.NoError(t, next.Start(t.Context()))
		_, err := next.Peer(key)
		require.NoError(t, err)
	})
}

func TestFailedDataplaneClosesTheNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startRig(t)
		key := r.add(t, PeerSpec{}).PublicKey
		r.dataplane.cfg.Notify(DataplaneEvent{Kind: DataplaneFailed, Err: errInjected})
		r.dataplane.cfg.Notify(DataplaneEvent{Kind: DataplaneFailed, Err: errors.New("a second one")})
		require.ErrorIs(t, r.Wait(), errInjected)
		_, err := r.AddPeer(t.Context(), PeerSpec{})
		require.ErrorIs(t, err, ErrClosed)
		require.NoError(t, r.Close())

		events := r.drain()
		last := events[len(events)-1]
		require.Equal(t, NodeClosed, last.Kind)
		require.ErrorIs(t, last.Err, errInjected)
		_, err = r.events.Next(t.Context())
		require.ErrorIs(t, err, ErrClosed)

		next := newRig(t, r.store)
		require.NoError(t, next.Start(t.Context()))
		_, err = next.Peer(key)
		require.NoError(t, err)
	})
}

func TestDataplaneThatFailsWithoutAReason(t *testing.T) {
	r := startRig(t)
	r.dataplane.cfg.Notify(DataplaneEvent{Kind: DataplaneFailed})
	require.ErrorIs(t, r.Wait(), errUnexplained)
}

func TestCloseReportsWhatItCouldNotDo(t *testing.T) {
	r := startRig(t)
	r.dataplane.setHook(func(_ context.Context, call string) error {
		if call == "Close" || call == "Stats" {
			return errInjected
		}
		return nil
	})
	err := r.Close()
	require.ErrorIs(t, err, errInjected)
	require.ErrorContains(t, err, "close dataplane")
	require.ErrorContains(t, err, "write usage")
	require.Equal(t, err, r.Close())
	require.NoError(t, r.Wait())
}

// TestNodeKey follows the key over restarts: generated once, kept, and overruled by the configuration.
func TestNodeKey(t *testing.T) {
	key := func(r *rig) wgtypes.Key {
		status, err := r.Status(t.Context())
		require.NoError(t, err)
		return status.PublicKey
	}
	first := startRig(t)
	second := first.again(t)
	require.Equal(t, first.up.publicKey, key(second))

	own, err := wgtypes.GeneratePrivateKey()
	require.NoError(t, err)
	third := second.again(t, func(c *Config) { c.PrivateKey = own })
	require.Equal(t, own.PublicKey(), key(third))
	require.Equal(t, first.up.publicKey, key(third.again(t)), "a configured key is not stored")
}
