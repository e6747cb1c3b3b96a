package membership

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/registry"
)

func TestLeave(t *testing.T) {
	run(t, nil, func(t *testing.T, r *rig) {
		r.usage.append(3)
		require.NoError(t, r.Leave(t.Context()))
		require.Equal(t, Left, r.State().Phase)
		require.False(t, r.fleet.server("fra-1").known)
		r.requireReported(0)
		calls := r.fleet.count("")
		pass(time.Hour)
		require.Equal(t, calls, r.fleet.count(""), "it asks nothing more")
		require.NoError(t, r.Leave(t.Context()), "to leave twice is harmless")
	})
}

func TestLeaveAndComeBackAsTheSame(t *testing.T) {
	run(t, nil, func(t *testing.T, r *rig) {
		server := r.State().Server
		require.NoError(t, r.Leave(t.Context()))
		r.kill()
		r.start()
		pass(time.Minute)
		require.Equal(t, Joined, r.State().Phase)
		require.Equal(t, server, r.State().Server)
		require.Equal(t, int64(2), r.State().Incarnation)
	})
}

func TestLeaveWithoutRun(t *testing.T) {
	run(t, nil, func(t *testing.T, r *rig) {
		r.kill()
		m, err := New(r.cfg)
		require.NoError(t, err)
		require.NoError(t, m.Leave(t.Context()))
		require.False(t, r.fleet.server("fra-1").known)

		r.cfg.StateFile += "-of-nobody"
		calls := r.fleet.count("")
		m, err = New(r.cfg)
		require.NoError(t, err)
		require.NoError(t, m.Leave(t.Context()), "who never registered has left")
		require.Equal(t, calls, r.fleet.count(""))
	})
}

// A heartbeat that is under way must not bring the node back after it has left.
func TestLeaveWaitsForWhatIsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, newFakeFleet(), "fra-1")
		r.start()
		defer r.kill()
		pass(time.Minute)
		r.fleet.set(func(f *fakeFleet) { f.delay = 4 * time.Second })
		before := r.fleet.count("heartbeat")
		for r.fleet.count("heartbeat") == before {
			pass(100 * time.Millisecond)
		}
		require.NoError(t, r.Leave(t.Context()))
		pass(time.Minute)
		require.False(t, r.fleet.server("fra-1").known)
	})
}

func TestLeaveDuringAnOutage(t *testing.T) {
	run(t, nil, func(t *testing.T, r *rig) {
		r.fleet.outage(lostBefore)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		err := r.Leave(ctx)
		require.ErrorIs(t, err, errLost)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.NotEqual(t, Left, r.State().Phase)

		time.AfterFunc(time.Minute, r.fleet.heal)
		require.NoError(t, r.Leave(t.Context()), "it tries until it may")
		require.Equal(t, Left, r.State().Phase)

		r.fleet.set(func(f *fakeFleet) { f.refuse = func(string) error { return registry.ErrDenied } })
		require.ErrorIs(t, r.Leave(t.Context()), registry.ErrDenied)
	})
}
