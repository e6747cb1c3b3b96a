package postgres_test

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/registry"
)

// A node that is started anew has not changed its mind about the fleet's size.
func TestARegistrationIsNoScalingEvent(t *testing.T) {
	t.Parallel()
	dsn := database(t)
	fleet, sql := open(t, dsn), sqlConn(t, dsn)
	node := registry.Registration{
		Name: "fra-1", PublicKey: registry.Key{1}, EndpointV4: netip.MustParseAddrPort("192.0.2.1:51820"), APIURL: "https://192.0.2.1:8443",
	}
	for range 2 {
		registered, err := fleet.Register(t.Context(), node)
		require.NoError(t, err)
		_, err = fleet.Heartbeat(t.Context(), registry.Heartbeat{
			Server: registered.Server, Incarnation: registered.Incarnation, Sequence: 1,
			Status: registry.Status{Load: registry.Load{Score: 0.9, Scaling: registry.ScaleOut}},
		})
		require.NoError(t, err)
	}
	require.EqualValues(t, 1, ask[int64](t, sql, "select count(*) from node_events where kind = 'scaling'"))
	require.EqualValues(t, 2, ask[int64](t, sql, "select count(*) from node_events where kind = 'registered'"))
}
