package membership

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/registry"
)

// Whose usage it is depends on when a session was placed, by the registry's clock.
func TestUsageIsReportedByTheRegistrysClock(t *testing.T) {
	for _, ahead := range []time.Duration{time.Hour, -time.Hour} {
		run(t, func(r *rig) { r.fleet.ahead = ahead }, func(t *testing.T, r *rig) {
			r.usage.append(2)
			pass(2 * time.Minute)
			reports := r.fleet.server("fra-1").reports
			require.Len(t, reports, 1)
			require.Equal(t, time.Unix(0, 0).Add(ahead), reports[0].From)
			require.Equal(t, time.Unix(2, 0).Add(ahead), reports[0].To)
			require.Equal(t, time.Unix(2, 0), r.State().UsageReportedTo, "by this host's clock")

			// The clock is put right while a report is under way, which stays what it was.
			r.fleet.set(func(f *fakeFleet) {
				f.fault = func(call string) fault { return map[bool]fault{true: lostAfter}[call == "usage"] }
			})
			r.usage.append(1)
			pass(3 * time.Minute)
			r.fleet.set(func(f *fakeFleet) { f.ahead = 0 })
			pass(time.Minute)
			r.kill()
			r.start()
			pass(3 * time.Minute)
			r.fleet.heal()
			r.usage.append(1)
			pass(5 * time.Minute)
			reports = r.fleet.server("fra-1").reports
			require.Len(t, reports, 3)
			require.Equal(t, time.Unix(3, 0).Add(ahead), reports[1].To)
			require.Equal(t, time.Unix(4, 0), reports[2].To)
		})
	}
}

func TestUsageWaitsUntilTheRegistrysClockIsKnown(t *testing.T) {
	refuse := func(r *rig) {
		r.fleet.ahead = time.Hour
		r.fleet.fault = func(call string) fault { return map[bool]fault{true: lostAfter}[call == "heartbeat"] }
		r.usage.append(1)
		r.cfg.UsagePeriod = time.Second
	}
	run(t, refuse, func(t *testing.T, r *rig) {
		require.True(t, r.State().Registered)
		require.Zero(t, r.fleet.count("usage"))
		r.fleet.heal()
		pass(5 * time.Minute)
		require.Equal(t, time.Unix(1, 0).Add(time.Hour), r.fleet.server("fra-1").reports[0].To)
	})
}

// A call that takes long says little of the clock.
func TestTimesAreNotShiftedByWhatCallsTake(t *testing.T) {
	run(t, func(r *rig) { r.fleet.delay, r.fleet.ahead = 2*time.Second, time.Second }, func(t *testing.T, r *rig) {
		r.usage.append(1)
		pass(3 * time.Minute)
		require.Equal(t, time.Unix(1, 0), r.fleet.server("fra-1").reports[0].To)
	})
}

// busy is what a registry says that wants to be left alone for a while.
type busy time.Duration

func (busy) Error() string               { return "too many requests" }
func (busy) Unwrap() error               { return registry.ErrUnavailable }
func (b busy) RetryAfter() time.Duration { return time.Duration(b) }

func TestRetryAfterIsHeeded(t *testing.T) {
	run(t, nil, func(t *testing.T, r *rig) {
		r.usage.append(1)
		r.fleet.set(func(f *fakeFleet) {
			f.refuse = func(string) error { return fmt.Errorf("asked: %w", busy(4*time.Minute)) }
		})
		pass(100 * time.Second) // heartbeats and reports have heard of it, of which the latter come up to a tenth late
		before := r.fleet.count("")
		pass(2 * time.Minute)
		require.Equal(t, before, r.fleet.count(""))
		r.fleet.heal()
		pass(5 * time.Minute)
		require.Equal(t, Joined, r.State().Phase)
		require.Zero(t, r.State().Failures)
	})
}

func TestRetryAfterIsBounded(t *testing.T) {
	p := newPacer(func() float64 { return 0.5 })
	interval := registry.DefaultInterval
	require.Equal(t, time.Minute+interval/4, p.afterError(busy(time.Minute), 1, interval), "not all at once")
	require.Equal(t, maxRetryAfter+interval/4, p.afterError(busy(24*time.Hour), 1, interval))
	require.LessOrEqual(t, p.afterError(busy(-time.Hour), 1, interval), 2*interval)
	require.LessOrEqual(t, p.afterError(registry.ErrUnavailable, 1, interval), 2*interval)
}

// A server without a heartbeat is thought to be empty, and is sent what there is.
func TestFirstHeartbeatComesWithTheRegistration(t *testing.T) {
	run(t, nil, func(t *testing.T, r *rig) {
		r.kill()
		before := r.fleet.count("")
		r.start()
		pass(registry.DefaultInterval)
		calls := r.fleet.calls[before:]
		require.Equal(t, "register", calls[0].name)
		require.Equal(t, fakeCall{calls[0].at, "heartbeat"}, calls[1])
	})
}
