package memory_test

import (
	"context"
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/registry"
	"github.com/waylume/waylume/registry/memory"
)

func registration(name string) registry.Registration {
	r := registry.Registration{Name: name, EndpointV4: netip.MustParseAddrPort("192.0.2.1:51820"), APIURL: "https://192.0.2.1:8443"}
	copy(r.PublicKey[:], name)
	return r
}

func session(user string) registry.NewSession {
	s := registry.NewSession{User: user, IdempotencyKey: "1"}
	copy(s.PublicKey[:], user)
	return s
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	_, err := memory.New(memory.Config{Interval: time.Second / 2})
	require.ErrorIs(t, err, registry.ErrInvalid)
	_, err = memory.New(memory.Config{Interval: registry.DefaultFreshness})
	require.ErrorIs(t, err, registry.ErrInvalid, "no server would ever be fresh for long")
	_, err = memory.New(memory.Config{Interval: registry.DefaultFreshness - time.Second})
	require.NoError(t, err)
	_, err = memory.New(memory.Config{Retention: -1})
	require.ErrorIs(t, err, registry.ErrInvalid)
}

func TestIntervalIsToldToNodes(t *testing.T) {
	t.Parallel()
	f, err := memory.New(memory.Config{Interval: 7 * time.Second})
	require.NoError(t, err)
	registered, err := f.Register(t.Context(), registration("a"))
	require.NoError(t, err)
	answer, err := f.Heartbeat(t.Context(), registry.Heartbeat{Server: registered.Server, Incarnation: 1, Sequence: 1})
	require.NoError(t, err)
	require.Equal(t, 7, answer.Interval)
}

func TestAHeartbeatOfALaterIncarnationThanIsKnownHasTheNodeRegister(t *testing.T) {
	t.Parallel()
	f, err := memory.New(memory.Config{})
	require.NoError(t, err)
	registered, err := f.Register(t.Context(), registration("a"))
	require.NoError(t, err)
	_, err = f.Heartbeat(t.Context(), registry.Heartbeat{Server: registered.Server, Incarnation: 2, Sequence: 1})
	require.ErrorIs(t, err, registry.ErrUnknownServer)
}

// What ended long ago takes no memory, and its idempotency key is free.
func TestEndedSessionsAreForgotten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f, err := memory.New(memory.Config{Retention: time.Hour})
		require.NoError(t, err)
		registered, err := f.Register(t.Context(), registration("a"))
		require.NoError(t, err)
		first, err := f.Begin(t.Context(), session("ann"))
		require.NoError(t, err)
		_, err = f.End(t.Context(), first.ID, "over")
		require.NoError(t, err)
		time.Sleep(time.Hour - time.Second)
		again, err := f.Begin(t.Context(), session("ann"))
		require.NoError(t, err)
		require.Equal(t, first.ID, again.ID)
		time.Sleep(time.Minute)
		_, err = f.Heartbeat(t.Context(), registry.Heartbeat{Server: registered.Server, Incarnation: 1, Sequence: 1})
		require.NoError(t, err)
		second, err := f.Begin(t.Context(), session("ann"))
		require.NoError(t, err)
		require.NotEqual(t, first.ID, second.ID)
		_, err = f.Session(t.Context(), first.ID)
		require.ErrorIs(t, err, registry.ErrUnknownSession)

		now := time.Now()
		_, err = f.ReportUsage(t.Context(), registry.UsageReport{Server: registered.Server, Sequence: 1, From: now, To: now, Usages: []registry.PeerUsage{
			{PublicKey: second.PublicKey, Download: 1}, {PublicKey: registry.Key{9}, Download: 2}, {PublicKey: registry.Key{9}, Upload: 3},
		}})
		require.NoError(t, err)
		second, err = f.Session(t.Context(), second.ID)
		require.NoError(t, err)
		require.EqualValues(t, 1, second.Download)
		require.Equal(t, map[registry.ID][]registry.PeerUsage{
			registered.Server: {{PublicKey: registry.Key{9}, Download: 2, Upload: 3}},
		}, f.Unmatched())
	})
}

// Whoever has been given something may do with it what they like.
func TestWhatIsGivenIsACopy(t *testing.T) {
	t.Parallel()
	f, err := memory.New(memory.Config{})
	require.NoError(t, err)
	r := registration("a")
	r.Features, r.Position = []string{"ipv6"}, &registry.Position{Latitude: 1}
	_, err = f.Register(t.Context(), r)
	require.NoError(t, err)
	spoil := func(r registry.Registration) { r.Features[0], r.Position.Latitude = "spoiled", 80 }
	spoil(r)
	servers, err := f.List(t.Context(), registry.Filter{})
	require.NoError(t, err)
	spoil(servers[0].Registration)
	selection, err := f.Select(t.Context(), registry.Query{})
	require.NoError(t, err)
	spoil(selection.Server.Registration)
	for c, err := range f.Watch(t.Context()) {
		require.NoError(t, err)
		require.Equal(t, "ipv6", c.Server.Features[0])
		require.InDelta(t, 1, c.Server.Position.Latitude, 0)
		break
	}
}

// A watch that nobody reads holds nobody up, and one that waits ends with its context.
func TestWatchWaitsWithoutAGoroutine(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f, err := memory.New(memory.Config{})
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan int)
		go func() {
			n := 0
			for _, err := range f.Watch(ctx) {
				if err == nil {
					n++
				}
			}
			ended <- n
		}()
		synctest.Wait()
		for i := range 100 {
			_, err := f.Register(t.Context(), registration(fmt.Sprint(i)))
			require.NoError(t, err)
		}
		synctest.Wait()
		cancel()
		require.GreaterOrEqual(t, <-ended, 100)
	})
}

func BenchmarkBegin(b *testing.B) {
	for _, servers := range []int{10, 1000, 10_000} {
		b.Run(fmt.Sprint(servers), func(b *testing.B) {
			f, err := memory.New(memory.Config{})
			require.NoError(b, err)
			for i := range servers {
				_, err := f.Register(b.Context(), registration(fmt.Sprint("n", i)))
				require.NoError(b, err)
			}
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				n++
				s, err := f.Begin(b.Context(), session(fmt.Sprint("u", n)))
				if err != nil {
					b.Fatal(err)
				}
				if _, err := f.End(b.Context(), s.ID, ""); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
