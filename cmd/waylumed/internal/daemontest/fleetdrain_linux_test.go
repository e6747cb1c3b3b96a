package daemontest

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/registry"
	api "github.com/waylume/waylume/wgnode/httpapi/v1"
)

// TestFleetDrainsBesideTheOperator has a node be drained by its fleet, and then by whoever runs it: that the fleet wants it no more does
// not take that back.
func TestFleetDrainsBesideTheOperator(t *testing.T) {
	c := newControlled(t)
	s := newMember(t, c)
	d := s.start(t)
	server := c.listed(t, d, "being listed", func(registry.Server) bool { return true })
	client := s.unix()
	defer client.CloseIdleConnections()
	draining := func() bool {
		return must[api.Node](t, client, http.StatusOK, http.MethodGet, "http://node/api/v1/node", nil).Draining
	}
	require.NoError(t, c.fleet.SetDraining(t.Context(), server.ID, true))
	d.until(t, "being drained", draining)
	status, out := s.waylumed(t, "drain", "--state", s.path("state"))
	require.Zero(t, status, out)
	require.NoError(t, c.fleet.SetDraining(t.Context(), server.ID, false))
	d.until(t, "hearing of it", func() bool {
		f := must[api.Fleet](t, client, http.StatusOK, http.MethodGet, "http://node/api/v1/node/fleet", nil)
		return f.Draining && !f.FleetDraining
	})
	c.listed(t, d, "telling that it is drained", func(r registry.Server) bool { return r.Draining })
	require.True(t, draining())

	status, out = s.waylumed(t, "undrain", "--state", s.path("state"))
	require.Zero(t, status, out)
	c.listed(t, d, "telling that it is not", func(r registry.Server) bool { return !r.Draining })
	require.False(t, draining())
}
