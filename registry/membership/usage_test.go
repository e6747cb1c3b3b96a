package membership

import (
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/registry"
)

// requireReported holds all reports that the fleet took, one after the other, to the log's entries from one on.
func (r *rig) requireReported(first int) {
	r.t.Helper()
	var got []registry.PeerUsage
	for _, report := range r.fleet.server(r.node.name).reports {
		got = append(got, report.Usages...)
	}
	require.Equal(r.t, r.usage.entries[first:], got)
}

func TestUsageIsReportedOnceAndInOrder(t *testing.T) {
	run(t, func(r *rig) { r.usage.append(3) }, func(t *testing.T, r *rig) {
		pass(2 * time.Minute)
		require.Len(t, r.fleet.server("fra-1").reports, 1)
		r.usage.append(2)
		require.NotEqual(t, time.Time{}, r.State().UsageReportedTo)
		pass(2 * time.Minute)
		r.requireReported(0)
		require.Equal(t, int64(2), r.State().UsageSequence)
		require.False(t, r.State().PendingUsage)
		calls := r.fleet.count("usage")
		pass(time.Hour)
		require.Equal(t, calls, r.fleet.count("usage"), "nothing to tell")
	})
}

func TestUsageThatIsBehindIsCaughtUpAtABoundedPace(t *testing.T) {
	run(t, func(r *rig) { r.usage.perChunk = 1 }, func(t *testing.T, r *rig) {
		r.usage.append(300)
		pass(time.Minute)
		before := r.fleet.count("usage")
		pass(time.Minute)
		require.InDelta(t, 8, r.fleet.count("usage")-before, 2, "half an interval apart")
		require.True(t, r.State().PendingUsage)
		pass(time.Hour)
		r.requireReported(0)
	})
}

// The answer is lost, or the process dies, and meanwhile more is used: the same report comes again.
func TestReportIsTheSameUntilItIsTaken(t *testing.T) {
	for _, how := range []fault{lostBefore, lostAfter, silent, late} {
		run(t, nil, func(t *testing.T, r *rig) {
			r.usage.append(2)
			r.fleet.set(func(f *fakeFleet) {
				f.fault = func(call string) fault { return map[bool]fault{true: how}[call == "usage"] }
			})
			pass(3 * time.Minute)
			require.Error(t, r.State().UsageError)
			r.usage.append(2)
			pass(3 * time.Minute)
			r.kill()
			r.start()
			pass(3 * time.Minute)
			r.fleet.heal()
			pass(10 * time.Minute)
			r.requireReported(0)
			require.NoError(t, r.State().UsageError)
			require.Len(t, r.fleet.server("fra-1").reports, 2)
		})
	}
}

func TestUsageAfterAFailure(t *testing.T) {
	run(t, nil, func(t *testing.T, r *rig) {
		r.usage.set(func(l *fakeLog) { l.err = errNode })
		pass(time.Hour)
		require.ErrorIs(t, r.State().UsageError, errNode)
		require.Len(t, r.logs.from(slog.LevelError), 1)
		r.usage.set(func(l *fakeLog) { l.err = nil })
		r.usage.append(1)
		pass(5 * time.Minute)
		r.requireReported(0)
		require.NoError(t, r.State().UsageError)
	})
}

func TestReportsOfAServerThatTheFleetHasForgotten(t *testing.T) {
	run(t, nil, func(t *testing.T, r *rig) {
		r.usage.append(1)
		r.fleet.set(func(f *fakeFleet) { delete(f.byID, f.servers["fra-1"].Server); delete(f.servers, "fra-1") })
		pass(5 * time.Minute)
		r.requireReported(0)
		require.Equal(t, Joined, r.State().Phase)
	})
}

func TestUsageThatWasNotKeptForLongEnoughIsCounted(t *testing.T) {
	run(t, nil, func(t *testing.T, r *rig) {
		r.usage.append(3)
		pass(2 * time.Minute)
		r.fleet.outage(silent)
		r.usage.append(5)
		pass(24 * time.Hour)
		r.usage.set(func(l *fakeLog) { l.kept = 6 })
		r.fleet.heal()
		pass(10 * time.Minute)
		require.Equal(t, 1, r.State().LostUsage)
		var got []int64
		for _, report := range r.fleet.server("fra-1").reports {
			for _, u := range report.Usages {
				got = append(got, u.Download)
			}
		}
		require.Equal(t, []int64{1, 2, 3, 7, 8}, got)
	})
}

// A report was under way, and nothing of it is kept any more: whether it was taken or not, the numbers stay without gaps.
func TestReportUnderWayThatIsNotKept(t *testing.T) {
	for _, how := range []fault{lostBefore, lostAfter} {
		run(t, nil, func(t *testing.T, r *rig) {
			r.fleet.set(func(f *fakeFleet) {
				f.fault = func(call string) fault { return map[bool]fault{true: how}[call == "usage"] }
			})
			r.usage.append(3)
			pass(3 * time.Minute)
			r.kill()
			r.fleet.set(func(f *fakeFleet) { // it would compare what it had with what comes
				if reports := f.servers["fra-1"].reports; len(reports) > 0 {
					reports[0].Usages = nil
				}
			})
			r.usage.set(func(l *fakeLog) { l.kept = 3 })
			r.fleet.heal()
			r.start()
			r.usage.append(1)
			pass(5 * time.Minute)
			server := r.fleet.server("fra-1")
			require.Equal(t, int64(2), server.UsageSequence)
			require.Empty(t, server.reports[0].Usages)
			require.Equal(t, r.usage.entries[3:], server.reports[1].Usages)
		})
	}
}

func TestStateFileIsLost(t *testing.T) {
	run(t, func(r *rig) { r.usage.perChunk = 2 }, func(t *testing.T, r *rig) {
		r.usage.append(5)
		pass(5 * time.Minute)
		require.Equal(t, int64(3), r.State().UsageSequence)
		r.kill()
		require.NoError(t, os.Remove(r.cfg.StateFile))
		r.usage.append(1)
		r.start()
		pass(2 * time.Minute)
		require.Len(t, r.fleet.server("fra-1").reports, 3, "nothing is reported that may have been")
		r.usage.append(1)
		pass(5 * time.Minute)
		reports := r.fleet.server("fra-1").reports
		require.Equal(t, int64(4), reports[3].Sequence)
		require.Equal(t, r.usage.entries[6:], reports[3].Usages)
		require.Len(t, r.logs.from(slog.LevelWarn), 2)
	})
}

func TestStateFileIsAnOlderOne(t *testing.T) {
	run(t, nil, func(t *testing.T, r *rig) {
		r.usage.append(1)
		pass(2 * time.Minute)
		r.kill()
		backup, err := os.ReadFile(r.cfg.StateFile)
		require.NoError(t, err)
		r.start()
		for range 3 {
			r.usage.append(1)
			pass(2 * time.Minute)
		}
		r.kill()
		require.NoError(t, os.WriteFile(r.cfg.StateFile, backup, 0o600))
		r.start()
		pass(5 * time.Minute)
		r.usage.append(1)
		pass(5 * time.Minute)
		r.requireReported(0)
	})
}

func TestFleetIsRestoredFromABackup(t *testing.T) {
	for _, joined := range []bool{false, true} {
		run(t, nil, func(t *testing.T, r *rig) {
			for range 3 {
				r.usage.append(1)
				pass(2 * time.Minute)
			}
			if !joined {
				r.kill()
			}
			r.fleet.set(func(f *fakeFleet) {
				s := f.servers["fra-1"]
				s.UsageSequence, s.reports = 1, s.reports[:1]
			})
			if !joined {
				r.start()
			}
			for range 2 {
				r.usage.append(1)
				pass(5 * time.Minute)
			}
			if joined { // it can only notice by the gap
				require.Len(t, r.fleet.broken, 1)
				r.fleet.broken = nil
			}
			server := r.fleet.server("fra-1")
			require.Equal(t, int64(3), server.UsageSequence)
			require.Equal(t, []int64{1, 4, 5}, []int64{
				server.reports[0].Usages[0].Download, server.reports[1].Usages[0].Download, server.reports[2].Usages[0].Download,
			})
			require.NotEmpty(t, r.logs.from(slog.LevelWarn))
		})
	}
}

func TestReconcile(t *testing.T) {
	for _, c := range []struct {
		name  string
		file  file
		says  registry.Registered
		want  file
		noted bool
	}{
		{"first time", file{}, registry.Registered{Server: "a"}, file{Server: "a"}, false},
		{
			"as before", file{Server: "a", Released: 3, Usage: usage{Sequence: 4, After: "x", UpTo: "y"}},
			registry.Registered{Server: "a", UsageSequence: 4},
			file{Server: "a", Released: 3, Usage: usage{Sequence: 4, After: "x", UpTo: "y"}}, false,
		},
		{
			"the report was taken", file{Server: "a", Usage: usage{Sequence: 4, After: "x", UpTo: "y"}},
			registry.Registered{Server: "a", UsageSequence: 5}, file{Server: "a", Usage: usage{Sequence: 5, After: "y"}}, false,
		},
		{
			"one ahead, with none under way", file{Server: "a", Usage: usage{Sequence: 4, After: "x"}},
			registry.Registered{Server: "a", UsageSequence: 5}, file{Server: "a", Usage: usage{Sequence: 5, After: "x", Skip: true}}, true,
		},
		{
			"two ahead", file{Server: "a", Usage: usage{Sequence: 4, After: "x", UpTo: "y"}},
			registry.Registered{Server: "a", UsageSequence: 6}, file{Server: "a", Usage: usage{Sequence: 6, After: "x", Skip: true}}, true,
		},
		{
			"behind", file{Server: "a", Usage: usage{Sequence: 4, After: "x", UpTo: "y"}},
			registry.Registered{Server: "a", UsageSequence: 2}, file{Server: "a", Usage: usage{Sequence: 2, After: "x", UpTo: "y"}}, true,
		},
		{
			"another server", file{Server: "a", Released: 9, Usage: usage{Sequence: 4, After: "x", UpTo: "y"}},
			registry.Registered{Server: "b", UsageSequence: 7}, file{Server: "b", Usage: usage{Sequence: 7, After: "x", UpTo: "y"}}, true,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			note := c.file.reconcile(c.says)
			require.Equal(t, c.want, c.file)
			require.Equal(t, c.noted, note != "")
		})
	}
}

func TestSourceThatIsWrong(t *testing.T) {
	r := newRig(t, newFakeFleet(), "fra-1")
	r.cfg.Usage = wrongSource{}
	m, err := New(r.cfg)
	require.NoError(t, err)
	for _, after := range []string{"stays", "many", "nowhere", "long"} {
		_, err := m.usageAfter(t.Context(), after)
		require.ErrorContains(t, err, "read usage: ", after)
	}
}
