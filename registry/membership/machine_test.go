package membership

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/waylume/waylume/registry"
)

// TestMember has a node join, lose and find its fleet in all ways at once, and die at any moment: no release is lost, none is
// acknowledged before it was carried out, no usage is lost or counted twice, and reports have no gaps.
func TestMember(t *testing.T) {
	above, runs := t.TempDir(), 0
	rapid.Check(t, func(rt *rapid.T) {
		runs++
		dir := filepath.Join(above, strconv.Itoa(runs))
		require.NoError(rt, os.Mkdir(dir, 0o700))
		// What fails in the bubble's goroutine has to fail in rapid's.
		var failure any
		synctest.Test(t, func(t *testing.T) {
			m := &machine{}
			defer func() {
				failure = recover()
				if m.rig != nil {
					m.rig.kill()
				}
			}()
			m.begin(t, rt, filepath.Join(dir, "fleet.json"))
			rt.Repeat(map[string]func(*rapid.T){
				"":             m.check,
				"pass time":    m.pass,
				"and more":     m.pass,
				"lose answers": m.loseAnswers,
				"release":      m.release,
				"use":          m.use,
				"fail":         m.fail,
				"heal":         m.heal,
				"node fails":   m.nodeFails,
				"forget":       m.forget,
				"kill":         m.kill,
				"drain":        m.drain,
				"call slowly":  m.slow,
			})
			m.settle(rt)
		})
		if failure != nil {
			panic(failure)
		}
	})
}

// machine drives a rig, whose node has a disk that knows what was released.
type machine struct {
	rig      *rig
	released int64 // that the fleet has wanted
	used     int
	draining bool
}

func (m *machine) begin(t *testing.T, rt *rapid.T, path string) {
	r := newRig(t, newFakeFleet(), "fra-1")
	r.cfg.StateFile = path
	r.usage.perChunk = rapid.SampledFrom([]int{1, 3, 100}).Draw(rt, "chunk")
	r.cfg.Interval = rapid.SampledFrom([]time.Duration{time.Second, 5 * time.Second, 30 * time.Second}).Draw(rt, "interval")
	r.cfg.UsagePeriod = rapid.SampledFrom([]time.Duration{time.Second, 20 * time.Second}).Draw(rt, "usage period")
	r.start()
	m.rig = r
	pass(MaxInterval)
	r.fleet.set(func(f *fakeFleet) { f.servers["fra-1"].carriedOut = r.node.has })
}

func (m *machine) pass(t *rapid.T) {
	// Integers would be small ones for the most part.
	bases := []time.Duration{time.Millisecond, time.Second, 5 * time.Second, 20 * time.Second, 90 * time.Second}
	time.Sleep(rapid.SampledFrom(bases).Draw(t, "pass") + time.Duration(rapid.IntRange(0, 999).Draw(t, "ms"))*time.Millisecond)
}

func (m *machine) release(t *rapid.T) {
	n := rapid.SampledFrom([]int{1, 2, 5, registry.MaxReleases + 1}).Draw(t, "releases")
	m.rig.fleet.release("fra-1", n)
	m.released += int64(n)
}

func (m *machine) use(t *rapid.T) {
	n := rapid.IntRange(1, 9).Draw(t, "usages")
	m.rig.usage.append(n)
	m.used += n
}

// fail has each call, or each of a kind, meet one of some faults by chance from now on.
func (m *machine) fail(t *rapid.T) {
	faults := rapid.SliceOfN(rapid.SampledFrom([]fault{works, lostBefore, lostAfter, silent, late}), 1, 4).Draw(t, "faults")
	only := rapid.SampledFrom([]string{"", "register", "heartbeat", "usage"}).Draw(t, "only")
	random := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
	m.rig.fleet.set(func(f *fakeFleet) {
		f.fault = func(call string) fault {
			if only != "" && only != call {
				return works
			}
			return faults[random.IntN(len(faults))]
		}
	})
}

// loseAnswers has all calls of a kind take effect, and none be answered.
func (m *machine) loseAnswers(t *rapid.T) {
	kind := rapid.SampledFrom([]string{"register", "heartbeat", "usage"}).Draw(t, "kind")
	m.rig.fleet.set(func(f *fakeFleet) {
		f.fault = func(call string) fault { return map[bool]fault{true: lostAfter}[call == kind] }
	})
}

func (m *machine) heal(*rapid.T) {
	m.rig.fleet.heal()
	m.rig.fleet.set(func(f *fakeFleet) { f.delay = 0 })
	m.rig.node.set(func(n *fakeNode) { n.releaseErr, n.releaseDelay = nil, 0 })
}

func (m *machine) nodeFails(t *rapid.T) {
	m.rig.node.set(func(n *fakeNode) {
		n.releaseErr = rapid.SampledFrom([]error{nil, errNode}).Draw(t, "release")
		n.releaseDelay = time.Duration(rapid.IntRange(0, 3).Draw(t, "delay")) * 7 * time.Second
	})
}

func (m *machine) slow(t *rapid.T) {
	m.rig.fleet.set(func(f *fakeFleet) {
		f.delay = rapid.SampledFrom([]time.Duration{0, 100 * time.Millisecond, 3 * time.Second, 6 * time.Second}).Draw(t, "delay")
	})
}

// forget has the fleet not know the server any more, as after it was deregistered.
func (m *machine) forget(*rapid.T) {
	m.rig.fleet.set(func(f *fakeFleet) { f.servers["fra-1"].known = false })
}

func (m *machine) drain(*rapid.T) {
	m.draining = !m.draining
	m.rig.SetDraining(m.draining)
}

// kill ends the process at what it is at, and starts another.
func (m *machine) kill(t *rapid.T) {
	m.rig.kill()
	if rapid.Bool().Draw(t, "down for long") {
		m.pass(t)
	}
	m.rig.start()
	m.rig.SetDraining(m.draining)
}

func (m *machine) check(t *rapid.T) {
	m.rig.fleet.set(func(f *fakeFleet) { require.Empty(t, f.broken) })
	s := m.rig.State()
	require.NotEqual(t, Superseded, s.Phase, "nobody else was there")
	require.NoError(t, s.FileError)
	if s.Phase == Outage {
		require.Error(t, s.LastError)
	}
	for i, report := range m.rig.fleet.server("fra-1").reports {
		require.Equal(t, int64(i+1), report.Sequence)
	}
}

// settle heals all and holds the outcome to what was done.
func (m *machine) settle(t *rapid.T) {
	m.heal(t)
	pass(15*time.Minute + time.Duration(m.used)*m.rig.cfg.Interval)
	m.check(t)
	s, server := m.rig.State(), m.rig.fleet.server("fra-1")
	require.Equal(t, Joined, s.Phase, "%v", s.LastError)
	require.Equal(t, server.Incarnation, s.Incarnation)
	require.Equal(t, m.draining, server.last.Draining)
	require.Equal(t, m.released, server.last.Released)
	for q := range m.released {
		require.True(t, m.rig.node.has(q+1))
	}
	var got []registry.PeerUsage
	for _, report := range server.reports {
		got = append(got, report.Usages...)
	}
	require.Equal(t, m.rig.usage.entries, got)
	require.NoError(t, errors.Join(s.LastError, s.ReleaseError, s.UsageError))
}
