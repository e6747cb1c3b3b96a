package postgres_test

import (
	"testing"
	"time"

	"github.com/waylume/waylume/internal/testutil/pgserver"
	"github.com/waylume/waylume/registry/registrytest"
)

// One database is enough: subtests come one after the other, and each begins with nothing.
func TestConformance(t *testing.T) {
	t.Parallel()
	dsn := database(t)
	fleet := open(t, dsn)
	registrytest.Run(t, func(t *testing.T) registrytest.Fleet {
		pgserver.Exec(t, dsn, "truncate waylume_servers, vpn_sessions, vpn_placements, vpn_usage, node_events")
		return registrytest.Fleet{
			Registry: fleet, Directory: fleet, Sessions: fleet, SetDraining: fleet.SetDraining,
			Advance: func(d time.Duration) { advance(t, dsn, d) },
		}
	})
}
