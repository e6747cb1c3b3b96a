package load_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/waylume/waylume/registry"
	"github.com/waylume/waylume/registry/load"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// host is a source.
type host struct {
	mu   sync.Mutex
	used uint64
	err  error
}

func (h *host) set(used uint64, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.used, h.err = used, err
}

func (h *host) sample(context.Context) (load.Sample, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return load.Sample{Peers: load.Fill{Used: h.used, Of: 100}}, h.err
}

func TestMonitor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		h := &host{used: 10}
		var told []string
		monitor, err := load.NewMonitor(load.MonitorConfig{
			Source: h.sample, Interval: 10 * time.Second, Logger: slog.New(slog.NewTextHandler(&log, nil)),
			OnScaling: func(_ context.Context, from, to registry.Scaling, l registry.Load) {
				require.Equal(t, to, l.Scaling)
				told = append(told, string(from)+" "+string(to))
			},
		})
		require.NoError(t, err)
		require.Zero(t, monitor.Load())
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- monitor.Run(ctx) }()
		wait := func(d time.Duration) {
			time.Sleep(d)
			synctest.Wait()
		}

		wait(time.Millisecond)
		require.InDelta(t, 0.1, monitor.Load().Score, 0, "the first sample is taken at once")
		h.set(100, nil)
		wait(time.Hour)
		require.Equal(t, registry.ScaleOut, monitor.Load().Scaling)
		h.set(0, nil)
		wait(time.Hour)
		require.Equal(t, registry.Steady, monitor.Load().Scaling, "that there are no peers does not say that there is no traffic")
		require.Equal(t, []string{"steady scale_out", "scale_out steady"}, told)
		require.Equal(t, 2, strings.Count(log.String(), "the load calls for another number of nodes"))
		require.Contains(t, log.String(), "scaling=scale_out before=steady score=0.9")
		require.Contains(t, log.String(), "peers=0.9")

		log.Reset()
		missing := errors.New("no interface eth7")
		h.set(0, missing)
		wait(time.Minute)
		require.ErrorIs(t, monitor.Err(), missing)
		h.set(0, errors.New("no interface eth8"))
		wait(time.Minute)
		h.set(0, nil)
		wait(time.Minute)
		require.NoError(t, monitor.Err())
		require.Equal(t, 3, strings.Count(log.String(), "\n"), log.String())

		cancel()
		require.NoError(t, <-done)
	})
}

func TestMonitorConfig(t *testing.T) {
	_, err := load.NewMonitor(load.MonitorConfig{Interval: 1, Meter: load.Config{Smoothing: 1}})
	require.ErrorIs(t, err, registry.ErrInvalid)
	for _, name := range []string{"Source", "Interval", "Smoothing"} {
		require.ErrorContains(t, err, name)
	}
}
