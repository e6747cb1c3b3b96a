package placement_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/registry"
	"github.com/waylume/waylume/registry/placement"
)

func TestRehomeTakesTheAddressesAlong(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, "a", "b")
		c := f.controller()
		before, err := c.Connect(t.Context(), newSession("ann"))
		require.NoError(t, err)
		other := map[string]string{"a": "b", "b": "a"}[before.Server.Name]
		require.NoError(t, f.SetDraining(t.Context(), before.Server.ID, true))
		report, err := c.Rehome(t.Context())
		require.NoError(t, err)
		require.Equal(t, placement.Report{Moved: 1}, report)
		require.Equal(t, other+" 2 [10.0.0.7]", f.asked[1])
		require.Len(t, f.moved, 1)
		require.Equal(t, before.Session.ID, f.moved[0].Session.ID)
		require.Equal(t, other, f.moved[0].Server.Name)

		// Where they are not free, the node gives others.
		taken := netip.MustParseAddr("10.0.0.99")
		f.answer[before.Server.Name] = func(_ context.Context, s registry.Session) (placement.Peer, error) {
			if len(s.Addresses) > 0 {
				return placement.Peer{}, placement.ErrAddresses
			}
			return placement.Peer{Addresses: []netip.Addr{taken}}, nil
		}
		require.NoError(t, f.SetDraining(t.Context(), before.Server.ID, false))
		require.NoError(t, f.SetDraining(t.Context(), f.ids[other], true))
		report, err = c.Rehome(t.Context())
		require.NoError(t, err)
		require.Equal(t, placement.Report{Moved: 1}, report)
		require.Equal(t, []netip.Addr{taken}, f.moved[1].Session.Addresses)
		require.Equal(t, []string{before.Server.Name + " 3 [10.0.0.7]", before.Server.Name + " 3 []"}, f.asked[2:])
	})
}

func TestRehomeFinishesAndEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, "a", "b")
		c := f.controller()
		abandoned, err := f.Begin(t.Context(), newSession("ann"))
		require.NoError(t, err)
		over := newSession("bob")
		over.ExpiresAt = time.Now().Add(30 * time.Second)
		expired, err := c.Connect(t.Context(), over)
		require.NoError(t, err)
		report, err := c.Rehome(t.Context())
		require.NoError(t, err)
		require.Zero(t, report)
		time.Sleep(registry.DefaultFreshness + time.Second)
		f.beat("a", "b")
		report, err = c.Rehome(t.Context())
		require.NoError(t, err)
		require.Equal(t, placement.Report{Finished: 1, Ended: 1}, report)
		s, err := f.Session(t.Context(), abandoned.ID)
		require.NoError(t, err)
		require.Equal(t, registry.Active, s.State)
		s, err = f.Session(t.Context(), expired.Session.ID)
		require.NoError(t, err)
		require.Equal(t, "expired", s.EndReason)
	})
}

// Sessions that no server fits must not keep from being moved those that one does, however many they are.
func TestRehomeIsNotHeldUpByWhatIsStuck(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, "a", "b")
		gold := registration("gold")
		gold.Pool = "gold"
		registered, err := f.Register(t.Context(), gold)
		require.NoError(t, err)
		f.ids["gold"] = registered.Server
		c := f.controller(func(cfg *placement.Config) { cfg.Batch = 3 })
		for i := range 20 {
			n := newSession(fmt.Sprint("gold", i))
			n.Query.Pool = "gold"
			_, err := c.Connect(t.Context(), n)
			require.NoError(t, err)
			time.Sleep(time.Millisecond)
		}
		for i := range 10 {
			_, err := c.Connect(t.Context(), newSession(fmt.Sprint("user", i)))
			require.NoError(t, err)
		}
		require.NoError(t, f.SetDraining(t.Context(), f.ids["gold"], true))
		require.NoError(t, f.SetDraining(t.Context(), f.ids["a"], true))
		servers, err := f.List(t.Context(), registry.Filter{})
		require.NoError(t, err)
		onA := servers[slices.IndexFunc(servers, func(s registry.Server) bool { return s.Name == "a" })].Assigned
		require.Positive(t, onA)
		report, err := c.Rehome(t.Context())
		require.NoError(t, err)
		require.Equal(t, placement.Report{Moved: onA, Stuck: 20}, report)
	})
}

func TestRehomeSaysWhatItCouldNotAsk(t *testing.T) {
	t.Parallel()
	f := newFleet(t, "a")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := f.controller().Rehome(ctx)
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorIs(t, f.controller().Run(ctx), context.Canceled)
}

func TestRunMovesWhatADeadNodeHad(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, "a", "b", "c")
		c := f.controller()
		for i := range 30 {
			_, err := c.Connect(t.Context(), newSession(fmt.Sprint(i)))
			require.NoError(t, err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- c.Run(ctx) }()
		f.mu.Lock()
		f.answer["a"] = down
		f.mu.Unlock()
		for range 4 {
			time.Sleep(registry.DefaultInterval)
			f.beat("b", "c")
		}
		servers, err := f.List(t.Context(), registry.Filter{})
		require.NoError(t, err)
		require.Positive(t, servers[0].Assigned, "it is within the freshness window")
		for range 2 {
			time.Sleep(registry.DefaultInterval)
			f.beat("b", "c")
		}
		servers, err = f.List(t.Context(), registry.Filter{})
		require.NoError(t, err)
		require.Zero(t, servers[0].Assigned)
		require.Equal(t, 30, servers[1].Assigned+servers[2].Assigned)
		cancel()
		require.ErrorIs(t, <-done, context.Canceled)
	})
}

// Many controllers at once on the same sessions: each session ends up on one server, once.
func TestControllersAtOnce(t *testing.T) {
	t.Parallel()
	f := newFleet(t, "a", "b", "c", "d")
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() {
			c := f.controller(func(cfg *placement.Config) { cfg.Moved = nil })
			for i := range 40 {
				if _, err := c.Connect(t.Context(), newSession(fmt.Sprint(i))); err != nil && !errors.Is(err, registry.ErrNoServer) {
					t.Errorf("connecting: %v", err)
				}
				if i%10 == 5 {
					if _, err := c.Rehome(t.Context()); err != nil {
						t.Errorf("rehoming: %v", err)
					}
				}
			}
		})
	}
	wg.Go(func() {
		for i := range 40 {
			name := string(rune('a' + i%4))
			for _, draining := range []bool{true, false} {
				if err := f.SetDraining(t.Context(), f.ids[name], draining); err != nil {
					t.Errorf("draining: %v", err)
				}
			}
		}
	})
	wg.Wait()
	assigned := 0
	servers, err := f.List(t.Context(), registry.Filter{})
	require.NoError(t, err)
	for _, s := range servers {
		assigned += s.Assigned
	}
	require.Equal(t, 40, assigned)
	for i := range 40 {
		connection, err := f.controller().Connect(t.Context(), newSession(fmt.Sprint(i)))
		require.NoError(t, err)
		require.Equal(t, registry.Active, connection.Session.State)
	}
}
