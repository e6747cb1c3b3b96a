package membership

import (
	"context"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/waylume/waylume/registry"
	"github.com/waylume/waylume/registry/memory"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// overMemory is a registry in memory whose calls meet the faults of a fakeFleet.
type overMemory struct {
	*fakeFleet
	*memory.Fleet
}

// through makes a call of the registry, which has an answer only if nothing failed.
func through[T any](ctx context.Context, o overMemory, name string, call func(context.Context) (T, error)) (T, error) {
	var answer, none T
	err := o.call(ctx, name, func() (err error) {
		answer, err = call(context.WithoutCancel(ctx)) // what is late takes effect all the same
		return err
	})
	if err != nil {
		return none, err
	}
	return answer, nil
}

func (o overMemory) Register(ctx context.Context, r registry.Registration) (registry.Registered, error) {
	return through(ctx, o, "register", func(ctx context.Context) (registry.Registered, error) { return o.Fleet.Register(ctx, r) })
}

func (o overMemory) Heartbeat(ctx context.Context, h registry.Heartbeat) (registry.Answer, error) {
	return through(ctx, o, "heartbeat", func(ctx context.Context) (registry.Answer, error) { return o.Fleet.Heartbeat(ctx, h) })
}

func (o overMemory) ReportUsage(ctx context.Context, r registry.UsageReport) (registry.UsageReceipt, error) {
	return through(ctx, o, "usage", func(ctx context.Context) (registry.UsageReceipt, error) { return o.Fleet.ReportUsage(ctx, r) })
}

func (o overMemory) Drain(ctx context.Context, server registry.ID, draining bool) error {
	return o.Fleet.Drain(ctx, server, draining)
}

func (o overMemory) Deregister(ctx context.Context, server registry.ID) error {
	return o.Fleet.Deregister(ctx, server)
}

// TestOverMemory has a day of faults and crashes between a node and the fleet in memory, while sessions come and go.
func TestOverMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fleet, err := memory.New(memory.Config{})
		require.NoError(t, err)
		o := overMemory{newFakeFleet(), fleet}
		r := newRig(t, o.fakeFleet, "fra-1")
		r.cfg.Registry = o
		r.start()
		defer func() { r.kill() }()
		pass(time.Minute)
		begin := func(key registry.Key) registry.Session {
			s, err := o.Begin(t.Context(), registry.NewSession{
				User: "u", IdempotencyKey: key.String(), PublicKey: key, Query: registry.Query{Freshness: 86_400, MaxLoad: 1},
			})
			require.NoError(t, err)
			return s
		}
		used := begin(registry.Key{2}) // that which the log's entries are of
		random := rand.New(rand.NewPCG(6, 6))
		released := int64(0)
		for i := range 500 {
			switch random.IntN(6) {
			case 0:
				s := begin(registry.Key{3, byte(i), byte(i >> 8)})
				_, err := o.End(t.Context(), s.ID, "test")
				require.NoError(t, err)
				released++
			case 1:
				r.usage.append(1 + random.IntN(5))
			case 2:
				r.fleet.set(func(f *fakeFleet) {
					f.fault = func(string) fault { return fault(rand.IntN(int(late) + 1)) }
				})
			case 3:
				r.fleet.heal()
			case 4:
				r.kill()
				r.start()
			}
			time.Sleep(time.Duration(random.IntN(300)) * time.Second)
			require.NotEqual(t, Superseded, r.State().Phase)
		}
		r.fleet.heal()
		pass(30 * time.Minute)
		require.Equal(t, Joined, r.State().Phase)
		require.Equal(t, released, r.State().Released)
		for s := range released {
			require.True(t, r.node.has(s+1))
		}
		ended, err := o.End(t.Context(), used.ID, "test")
		require.NoError(t, err)
		var want int64
		for _, u := range r.usage.entries {
			want += u.Download
		}
		require.Equal(t, want, ended.Download)
	})
}
