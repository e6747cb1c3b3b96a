package membership

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/registry"
)

func TestJoinsAndBeats(t *testing.T) {
	run(t, nil, func(t *testing.T, r *rig) {
		s := r.State()
		require.Equal(t, Joined, s.Phase)
		require.True(t, s.Registered)
		require.Equal(t, int64(1), s.Incarnation)
		require.Equal(t, "closed", s.Breaker)
		before := r.fleet.count("heartbeat")
		pass(time.Hour)
		beats := r.fleet.count("heartbeat") - before
		require.InDelta(t, time.Hour/registry.DefaultInterval, beats, 10)
		require.Equal(t, 1, r.fleet.count("register"))
		server := r.fleet.server("fra-1")
		for i, b := range server.beats {
			require.Equal(t, int64(i+1), b.Sequence)
		}
		require.Equal(t, []string{"node has registered with the fleet"}, r.logs.from(slog.LevelInfo))
		require.Equal(t, int64(len(server.beats)), r.State().Heartbeats)
	})
}

func TestIntervalIsWhatTheFleetAsksFor(t *testing.T) {
	for _, c := range []struct {
		asked int
		want  time.Duration
	}{{60, time.Minute}, {0, registry.DefaultInterval}, {-5, registry.DefaultInterval}, {1 << 40, MaxInterval}} {
		t.Run(fmt.Sprint(c.asked), func(t *testing.T) {
			run(t, func(r *rig) { r.fleet.interval = c.asked }, func(t *testing.T, r *rig) {
				pass(c.want)
				require.Equal(t, c.want, r.State().Interval)
				before := r.fleet.count("heartbeat")
				pass(100 * c.want)
				require.InDelta(t, 100, r.fleet.count("heartbeat")-before, 11)
			})
		})
	}
}

func TestSlowCallsDoNotMakeTheNextLate(t *testing.T) {
	run(t, func(r *rig) { r.fleet.delay = 3 * time.Second }, func(t *testing.T, r *rig) {
		pass(time.Minute)
		before := r.fleet.count("heartbeat")
		pass(time.Hour)
		require.InDelta(t, time.Hour/registry.DefaultInterval, r.fleet.count("heartbeat")-before, 10)
	})
}

func TestUnknownServerRegistersAgain(t *testing.T) {
	run(t, nil, func(t *testing.T, r *rig) {
		server := r.State().Server
		r.fleet.set(func(f *fakeFleet) { f.servers["fra-1"].known = false })
		pass(time.Minute)
		s := r.State()
		require.Equal(t, Joined, s.Phase)
		require.Equal(t, int64(2), s.Incarnation)
		require.Equal(t, server, s.Server)
		require.NoError(t, s.LastError)
	})
}

func TestSupersededStopsAndSaysSoOnce(t *testing.T) {
	run(t, nil, func(t *testing.T, r *rig) {
		pass(lateArrival + 2*registry.DefaultInterval) // and a heartbeat after it
		_, err := r.fleet.Register(t.Context(), registry.Registration{Name: "fra-1"})
		require.NoError(t, err)
		pass(time.Minute)
		s := r.State()
		require.Equal(t, Superseded, s.Phase)
		require.False(t, s.Registered)
		require.ErrorIs(t, s.LastError, registry.ErrSuperseded)
		calls := r.fleet.count("")
		r.usage.append(1)
		r.SetDraining(true)
		pass(24 * time.Hour)
		require.Equal(t, calls, r.fleet.count(""), "it asks nothing more")
		require.Len(t, r.logs.from(slog.LevelError), 1)
		require.ErrorIs(t, r.Leave(t.Context()), registry.ErrSuperseded)
	})
}

// A registration whose answer was lost, and which takes effect after the one that followed it, is the node's own.
func TestOwnLateRegistrationDoesNotSupersede(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, newFakeFleet(), "fra-1")
		r.start()
		defer r.kill()
		pass(10 * time.Minute)
		n := 0
		r.fleet.set(func(f *fakeFleet) {
			f.servers["fra-1"].known = false
			f.fault = func(call string) fault {
				if call == "register" {
					if n++; n == 1 {
						return late
					}
				}
				return works
			}
		})
		pass(5 * time.Minute)
		require.Equal(t, Joined, r.State().Phase)
		require.Equal(t, r.fleet.server("fra-1").Incarnation, r.State().Incarnation)
		require.Greater(t, r.State().Incarnation, int64(2))
	})
}

func TestTwoProcessesDoNotFightForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fleet := newFakeFleet()
		a, b := newRig(t, fleet, "fra-1"), newRig(t, fleet, "fra-1")
		a.start()
		b.start()
		defer a.kill()
		defer b.kill()
		pass(lateArrival + time.Minute)
		require.ElementsMatch(t, []Phase{Superseded, Joined}, []Phase{a.State().Phase, b.State().Phase})
		registrations := fleet.count("register")
		pass(time.Hour)
		require.Equal(t, registrations, fleet.count("register"))
		require.Less(t, registrations, 60)
	})
}

func TestRefusals(t *testing.T) {
	for _, c := range []struct {
		err   error
		phase Phase
		every time.Duration
	}{
		{registry.ErrDenied, Denied, slowly}, {registry.ErrInvalid, Refused, slowly}, {registry.ErrNameTaken, NameTaken, whenStale},
	} {
		t.Run(string(c.phase), func(t *testing.T) {
			refuse := func(string) error { return fmt.Errorf("%w: says the test", c.err) }
			run(t, func(r *rig) { r.fleet.refuse = refuse }, func(t *testing.T, r *rig) {
				require.Equal(t, c.phase, r.State().Phase)
				require.ErrorIs(t, r.State().LastError, c.err)
				before := r.fleet.count("")
				pass(100 * c.every)
				require.InDelta(t, 100, r.fleet.count("")-before, 20)
				require.Len(t, r.logs.from(slog.LevelError), 1, "once, not each time")
				r.fleet.heal()
				pass(2 * c.every)
				require.Equal(t, Joined, r.State().Phase)
				require.NoError(t, r.State().LastError)
			})
		})
	}
}

func TestRevokedWhileJoined(t *testing.T) {
	run(t, nil, func(t *testing.T, r *rig) {
		r.fleet.set(func(f *fakeFleet) { f.refuse = func(string) error { return registry.ErrDenied } })
		r.usage.append(1)
		pass(time.Minute)
		require.Equal(t, Denied, r.State().Phase)
		before := r.fleet.count("")
		pass(time.Hour)
		require.Less(t, r.fleet.count("")-before, 30)
		r.fleet.heal()
		pass(20 * time.Minute)
		require.Equal(t, Joined, r.State().Phase)
		require.Len(t, r.fleet.server("fra-1").reports, 1)
	})
}

func TestUrgentHeartbeats(t *testing.T) {
	run(t, nil, func(t *testing.T, r *rig) {
		for _, change := range []func(){
			func() { r.SetDraining(true) },
			func() {
				r.node.set(func(n *fakeNode) {
					n.status = registry.Status{Health: registry.Failing, Reasons: []string{"disk is full"}}
				})
				r.Changed()
			},
			func() {
				r.node.set(func(n *fakeNode) { n.status = registry.Status{} })
				r.Changed()
			},
		} {
			before := r.fleet.count("heartbeat")
			change()
			pass(registry.DefaultInterval / lookShare)
			require.Equal(t, before+1, r.fleet.count("heartbeat"))
		}
		require.True(t, r.fleet.server("fra-1").last.Draining)

		before := r.fleet.count("heartbeat")
		for range 5 {
			r.Changed() // nothing has
			pass(lookPeriod)
		}
		require.LessOrEqual(t, r.fleet.count("heartbeat")-before, 1, "nor is it told")
	})
}

func TestUrgentHeartbeatsAreBounded(t *testing.T) {
	run(t, nil, func(t *testing.T, r *rig) {
		before := r.fleet.count("heartbeat")
		for i := range 3600 {
			r.SetDraining(i%2 == 0)
			r.node.set(func(n *fakeNode) { n.status.Reasons = []string{fmt.Sprint(i)} })
			r.Changed()
			pass(time.Second)
		}
		require.Less(t, r.fleet.count("heartbeat")-before, 2*int(time.Hour/registry.DefaultInterval)+30)
	})
}

func TestChangedIsNoBurdenToTheNode(t *testing.T) {
	run(t, nil, func(t *testing.T, r *rig) {
		before := r.node.statusCalls
		for range 10_000 {
			r.Changed()
			pass(time.Millisecond)
		}
		require.LessOrEqual(t, r.node.statusCalls-before, 12)
	})
}

func TestNodeThatCannotSayHowItIsFails(t *testing.T) {
	run(t, nil, func(t *testing.T, r *rig) {
		r.node.set(func(n *fakeNode) { n.statusErr = errNode })
		pass(time.Minute)
		last := r.fleet.server("fra-1").last
		require.Equal(t, registry.Failing, last.Health)
		require.Equal(t, []string{"status is not known: node is out of order"}, last.Reasons)

		long := slices.Repeat([]string{strings.Repeat("ü", registry.MaxReasonLen)}, registry.MaxReasons+1)
		r.node.set(func(n *fakeNode) { n.status, n.statusErr = registry.Status{Reasons: long}, nil })
		pass(time.Minute)
		last = r.fleet.server("fra-1").last
		require.NoError(t, last.Validate(), "it says what fits")
		require.Len(t, last.Reasons, registry.MaxReasons)
	})
}

func TestNodeThatCannotSayWhatItIs(t *testing.T) {
	run(t, func(r *rig) { r.node.registerErr = fmt.Errorf("no endpoint: %w", registry.ErrInvalid) }, func(t *testing.T, r *rig) {
		pass(time.Hour)
		require.Equal(t, Joining, r.State().Phase, "it is no outage of the fleet's")
		require.ErrorContains(t, r.State().LastError, "no endpoint")
		require.Equal(t, []string{"node cannot say what to register"}, r.logs.from(slog.LevelInfo))
		require.Zero(t, r.fleet.count(""))
		r.node.set(func(n *fakeNode) { n.registerErr = nil })
		pass(time.Minute)
		require.Equal(t, Joined, r.State().Phase)
	})
}

func TestDrainingIsTold(t *testing.T) {
	var mu sync.Mutex
	var told []bool
	fail := true
	since := func() []bool {
		mu.Lock()
		defer mu.Unlock()
		was := told
		told = nil
		return was
	}
	adjust := func(r *rig) {
		r.cfg.OnDraining = func(_ context.Context, draining bool) error {
			mu.Lock()
			defer mu.Unlock()
			if draining && fail {
				return errNode
			}
			told = append(told, draining)
			return nil
		}
	}
	run(t, adjust, func(t *testing.T, r *rig) {
		require.Equal(t, []bool{false}, since(), "with the first answer")
		r.fleet.set(func(f *fakeFleet) { f.draining = true })
		pass(time.Minute)
		require.True(t, r.State().FleetDraining)
		mu.Lock()
		fail = false
		mu.Unlock()
		require.Empty(t, since())
		pass(2 * time.Minute)
		require.Equal(t, []bool{true}, since())
		require.False(t, r.fleet.server("fra-1").last.Draining, "it is not the node that wants it")
		r.fleet.set(func(f *fakeFleet) { f.draining = false })
		pass(time.Minute)
		require.Equal(t, []bool{false}, since())
		require.Len(t, r.logs.from(slog.LevelError), 1)
	})
}
