package memory_test

import (
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/waylume/waylume/registry"
	"github.com/waylume/waylume/registry/memory"
	"github.com/waylume/waylume/registry/registrytest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// clock is one that tests set forward. It goes on by itself a little with each look, so that no two times are the same.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Now()} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(time.Microsecond)
	return c.now
}

func (c *clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func TestConformance(t *testing.T) {
	t.Parallel()
	registrytest.Run(t, func(t *testing.T) registrytest.Fleet {
		clock := newClock()
		fleet, err := memory.New(memory.Config{Now: clock.Now})
		require.NoError(t, err)
		return registrytest.Fleet{
			Registry: fleet, Directory: fleet, Sessions: fleet, Advance: clock.Advance, SetDraining: fleet.SetDraining,
		}
	})
}

// What supabase runs: no other side, and a Registry for each node.
func TestConformanceOfRegistryAlone(t *testing.T) {
	t.Parallel()
	registrytest.RunRegistry(t, func(t *testing.T) registrytest.Fleet {
		clock := newClock()
		fleet, err := memory.New(memory.Config{Now: clock.Now})
		require.NoError(t, err)
		return registrytest.Fleet{As: func(string) registry.Registry { return fleet }, Advance: clock.Advance}
	})
}
