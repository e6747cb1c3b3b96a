package placement_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/registry"
	"github.com/waylume/waylume/registry/placement"
)

// away is a registry that does not answer a controller for a time.
type away struct {
	registry.Sessions
	is bool
}

func (a *away) Stranded(ctx context.Context, freshness time.Duration, limit int) ([]registry.Session, error) {
	if a.is {
		return nil, registry.ErrUnavailable
	}
	return a.Sessions.Stranded(ctx, freshness, limit)
}

// TestAfterAnOutage: sessions stay with their servers, which come back one by one; one that does not is silent.
func TestAfterAnOutage(t *testing.T) {
	t.Parallel()
	for name, outage := range map[string]func(*testing.T, *placement.Controller, *away){
		"of the registry": func(t *testing.T, c *placement.Controller, a *away) {
			a.is = true
			for range 20 {
				_, err := c.Rehome(t.Context())
				require.ErrorIs(t, err, registry.ErrUnavailable)
				time.Sleep(5 * time.Second)
			}
			a.is = false
		},
		"of all servers": func(t *testing.T, c *placement.Controller, _ *away) {
			for range 20 {
				_, err := c.Rehome(t.Context())
				require.NoError(t, err)
				time.Sleep(5 * time.Second)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := newFleet(t, "a", "b", "c")
				sessions := &away{Sessions: f}
				c := f.controller(func(cfg *placement.Config) { cfg.Sessions = sessions })
				before, err := c.Connect(t.Context(), newSession("ann"))
				require.NoError(t, err)
				owner := before.Server.Name
				others := map[string][]string{"a": {"b", "c"}, "b": {"c", "a"}, "c": {"a", "b"}}[owner]
				rehome := func() placement.Report {
					report, err := c.Rehome(t.Context())
					require.NoError(t, err)
					return report
				}
				outage(t, c, sessions)
				f.beat(others[0])
				require.Equal(t, placement.Report{Waiting: 1}, rehome())
				time.Sleep(30 * time.Second)
				f.beat(others...)
				require.Equal(t, placement.Report{Waiting: 1}, rehome())
				f.beat(owner)
				require.Equal(t, placement.Report{}, rehome())
				require.Empty(t, f.moved)

				outage(t, c, sessions)
				f.beat(others...)
				require.Equal(t, placement.Report{Waiting: 1}, rehome())
				time.Sleep(registry.DefaultFreshness)
				f.beat(others...)
				require.Equal(t, placement.Report{Moved: 1}, rehome(), "it has not come back")
			})
		})
	}
}

// TestBlip: a registry that does not answer for a moment changes nothing of when a server counts as silent.
func TestBlip(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, "a", "b")
		sessions := &away{Sessions: f}
		c := f.controller(func(cfg *placement.Config) { cfg.Sessions = sessions })
		before, err := c.Connect(t.Context(), newSession("ann"))
		require.NoError(t, err)
		other := map[string]string{"a": "b", "b": "a"}[before.Server.Name]
		time.Sleep(registry.DefaultFreshness - 5*time.Second)
		sessions.is = true
		_, err = c.Rehome(t.Context())
		require.ErrorIs(t, err, registry.ErrUnavailable)
		time.Sleep(6 * time.Second)
		sessions.is = false
		f.beat(other)
		report, err := c.Rehome(t.Context())
		require.NoError(t, err)
		require.Equal(t, placement.Report{Moved: 1}, report)
	})
}

// TestDrainingAfterAnOutage moves what is asked for, whoever was heard.
func TestDrainingAfterAnOutage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, "a", "b")
		c := f.controller()
		before, err := c.Connect(t.Context(), newSession("ann"))
		require.NoError(t, err)
		other := map[string]string{"a": "b", "b": "a"}[before.Server.Name]
		time.Sleep(2 * registry.DefaultFreshness)
		report, err := c.Rehome(t.Context())
		require.NoError(t, err)
		require.Equal(t, placement.Report{Waiting: 1}, report)
		require.NoError(t, f.SetDraining(t.Context(), before.Server.ID, true))
		f.beat(other)
		report, err = c.Rehome(t.Context())
		require.NoError(t, err)
		require.Equal(t, placement.Report{Moved: 1}, report)
	})
}
