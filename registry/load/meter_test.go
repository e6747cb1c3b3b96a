package load_test

import (
	"encoding/json"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/waylume/waylume/registry"
	"github.com/waylume/waylume/registry/load"
)

var begin = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func meter(t require.TestingT, cfg load.Config) *load.Meter {
	m, err := load.NewMeter(cfg)
	require.NoError(t, err)
	return m
}

func TestFirstSample(t *testing.T) {
	m := meter(t, load.Config{})
	require.Zero(t, m.Load())
	l := m.Add(load.Sample{
		At: begin, CPU: load.Busy{Used: 50, Total: 100}, Memory: load.Fill{Used: 1, Of: 4}, Conntrack: load.Fill{Used: 3, Of: 10},
		Peers: load.Fill{Used: 7, Of: 10}, Uplink: load.Uplink{Name: "eth0", ReceivedBytes: 1e9, Capacity: 1e9},
	})
	require.Equal(t, registry.Load{
		Score: 0.7, Memory: new(0.25), Conntrack: new(0.3), Peers: new(0.7), Scaling: registry.Steady,
	}, l, "what is counted over a time is not known at its beginning")
	require.Equal(t, l, m.Load())
}

func TestRates(t *testing.T) {
	m := meter(t, load.Config{})
	up := load.Uplink{Name: "eth0", Index: 2, ReceivedBytes: 5e9, SentBytes: 7e9, ReceivedPackets: 10, SentPackets: 20, Capacity: 1e9}
	m.Add(load.Sample{At: begin, CPU: load.Busy{Used: 50, Total: 100}, Uplink: up})
	up.ReceivedBytes += 250e6
	up.SentBytes += 125e6
	up.ReceivedPackets += 40_000
	up.SentPackets += 30_000
	l := m.Add(load.Sample{At: begin.Add(4 * time.Second), CPU: load.Busy{Used: 80, Total: 200}, Uplink: up})
	require.Equal(t, registry.Load{
		Score: 0.5, CPU: new(0.3), Uplink: new(0.5), Scaling: registry.Steady,
		ReceivedRate: 500e6, SentRate: 250e6, ReceivedPackets: 10_000, SentPackets: 7_500,
	}, l, "the uplink is as full as its busier direction")

	again := m.Add(load.Sample{At: begin.Add(4*time.Second + 99*time.Millisecond), Uplink: up})
	require.Equal(t, l, again, "too soon")

	up.SentBytes += 500e6
	l = m.Add(load.Sample{At: begin.Add(1004 * time.Second), Uplink: up})
	require.Equal(t, int64(4e6), l.SentRate)
	require.InDelta(t, 0.004, *l.Uplink, 1e-4, "it is the other direction now")
}

func TestHigherOfMachineAndQuota(t *testing.T) {
	m := meter(t, load.Config{})
	sample := func(seconds int, cpu, quota uint64) registry.Load {
		return m.Add(load.Sample{
			At:  begin.Add(time.Duration(seconds) * time.Second),
			CPU: load.Busy{Used: cpu, Total: uint64(100 * (seconds + 1))}, Quota: load.Busy{Used: quota, Total: uint64(100 * (seconds + 1))},
		})
	}
	sample(0, 10, 20)
	require.Equal(t, new(0.8), sample(1, 90, 30).CPU, "what the kernel does is in the machine's account alone")
	require.Equal(t, new(0.9), sample(601, 90+60_000*3/10, 30+60_000*9/10).CPU)
}

// What was so for one time constant counts for 63 %, however often samples are taken.
func TestSmoothing(t *testing.T) {
	for _, step := range []time.Duration{time.Second, 7 * time.Second, 30 * time.Second} {
		m := meter(t, load.Config{Smoothing: 30 * time.Second})
		m.Add(load.Sample{At: begin, Memory: load.Fill{Of: 100}})
		for at := step; at <= 210*time.Second; at += step {
			l := m.Add(load.Sample{At: begin.Add(at), Memory: load.Fill{Used: 100, Of: 100}})
			require.InDelta(t, 1-math.Exp(-at.Seconds()/30), *l.Memory, 1e-4, "after %v in steps of %v", at, step)
		}
	}
}

func TestForgotten(t *testing.T) {
	m := meter(t, load.Config{Smoothing: 30 * time.Second})
	sample := func(seconds int, s load.Sample) registry.Load {
		s.At = begin.Add(time.Duration(seconds) * time.Second)
		return m.Add(s)
	}
	sample(0, load.Sample{Conntrack: load.Fill{Used: 1, Of: 2}, Uplink: load.Uplink{Name: "eth0"}})
	sample(10, load.Sample{Conntrack: load.Fill{Used: 1, Of: 2}, Uplink: load.Uplink{Name: "eth0", SentBytes: 1000}})
	l := sample(40, load.Sample{})
	require.Equal(t, registry.Load{Score: 0.5, Conntrack: new(0.5), SentRate: 800, Scaling: registry.Steady}, l, "it may come back")
	require.Equal(t, registry.Load{Scaling: registry.Steady}, sample(41, load.Sample{}))
}

func TestCounters(t *testing.T) {
	const gigabit = 1_000_000_000
	for name, c := range map[string]struct {
		before, now load.Uplink
		received    int64 // bit/s over 8 s; -1: cannot be told
	}{
		"grows":   {load.Uplink{ReceivedBytes: 1000}, load.Uplink{ReceivedBytes: 3000}, 2000},
		"renewed": {load.Uplink{ReceivedBytes: 5 << 32, SentBytes: 9}, load.Uplink{ReceivedBytes: 3000, SentBytes: 9}, 3000},
		"renewed, and one of them is past where it was": {
			load.Uplink{ReceivedBytes: 1000, SentBytes: 5 << 32}, load.Uplink{ReceivedBytes: 3000, SentBytes: 9}, 3000,
		},
		"wrapped":                {load.Uplink{ReceivedBytes: 1<<32 - 500}, load.Uplink{ReceivedBytes: 500}, 1000},
		"at once as far as half": {load.Uplink{ReceivedBytes: 1 << 31}, load.Uplink{ReceivedBytes: 1}, 1},
		"wrapped, as its capacity allows": {
			load.Uplink{ReceivedBytes: 1<<32 - 5e8}, load.Uplink{ReceivedBytes: 5e8, Capacity: gigabit}, gigabit,
		},
		"renewed, as its capacity does not allow a wrap": {
			load.Uplink{ReceivedBytes: 1<<32 - 15e8}, load.Uplink{ReceivedBytes: 5e8, Capacity: gigabit}, 5e8,
		},
		"neither": {load.Uplink{ReceivedBytes: 1 << 40}, load.Uplink{ReceivedBytes: 1 << 39, Capacity: gigabit}, -1},
		"another": {load.Uplink{ReceivedBytes: 1000}, load.Uplink{Index: 3, ReceivedBytes: 3000}, -1},
		"renamed": {load.Uplink{ReceivedBytes: 1000}, load.Uplink{Name: "eth1", ReceivedBytes: 3000}, -1},
		"most":    {load.Uplink{}, load.Uplink{ReceivedBytes: math.MaxUint64}, math.MaxInt64},
	} {
		t.Run(name, func(t *testing.T) {
			m := meter(t, load.Config{})
			for _, u := range []*load.Uplink{&c.before, &c.now} {
				if u.Name == "" {
					u.Name = "eth0"
				}
			}
			m.Add(load.Sample{At: begin, Uplink: c.before})
			l := m.Add(load.Sample{At: begin.Add(8 * time.Second), Uplink: c.now})
			if c.received < 0 {
				require.Zero(t, l.ReceivedRate)
				require.Nil(t, l.Uplink)
				// From here on it can be told.
				c.now.ReceivedBytes += 2000
				c.received = 2000
				l = m.Add(load.Sample{At: begin.Add(16 * time.Second), Uplink: c.now})
			}
			require.Equal(t, c.received, l.ReceivedRate)
		})
	}
}

func TestBusyCountsAnew(t *testing.T) {
	m := meter(t, load.Config{})
	at := begin
	add := func(source string, used, total uint64) *float64 {
		at = at.Add(time.Second)
		return m.Add(load.Sample{At: at, CPU: load.Busy{Source: source, Used: used, Total: total}}).CPU
	}
	require.Nil(t, add("a", 100, 1000))
	require.Nil(t, add("a", 100, 1000), "no tick since")
	require.Nil(t, add("a", 90, 1010), "it fell")
	require.Nil(t, add("a", 95, 1005), "it fell")
	require.Nil(t, add("b", 100, 1100), "another one counts")
	require.Equal(t, new(0.25), add("b", 125, 1200))
	require.Equal(t, new(0.25), add("b", 125, 1200), "no tick since")
}

// A clock that is set, without a monotonic reading, costs a measurement.
func TestClockSet(t *testing.T) {
	m := meter(t, load.Config{})
	add := func(at time.Duration, received uint64) registry.Load {
		return m.Add(load.Sample{
			At: begin.Add(at), Memory: load.Fill{Used: 1, Of: 2}, Uplink: load.Uplink{Name: "eth0", ReceivedBytes: received},
		})
	}
	add(0, 0)
	require.Equal(t, int64(8000), add(time.Second, 1000).ReceivedRate)
	require.InDelta(t, 0.5, add(-24*time.Hour, 2000).Score, 0)
	require.Equal(t, int64(16000), add(-24*time.Hour+time.Second, 4000).ReceivedRate)
}

func TestLoadIsACopy(t *testing.T) {
	m := meter(t, load.Config{})
	l := m.Add(load.Sample{At: begin, Memory: load.Fill{Used: 1, Of: 2}})
	*l.Memory = 7
	require.InDelta(t, 0.5, *m.Load().Memory, 0)
	*m.Load().Memory = 7
	require.InDelta(t, 0.5, *m.Load().Memory, 0)
}

func fills() *rapid.Generator[load.Fill] {
	return rapid.Custom(func(t *rapid.T) load.Fill {
		return load.Fill{Used: numbers().Draw(t, "used"), Of: numbers().Draw(t, "of")}
	})
}

func numbers() *rapid.Generator[uint64] {
	return rapid.OneOf(rapid.Just(uint64(0)), rapid.Uint64Range(0, 1000), rapid.Uint64Range(1<<31, 1<<33), rapid.Uint64())
}

func samples() *rapid.Generator[load.Sample] {
	busy := rapid.Custom(func(t *rapid.T) load.Busy {
		source := rapid.SampledFrom([]string{"", "a"}).Draw(t, "source")
		return load.Busy{Source: source, Used: numbers().Draw(t, "used"), Total: numbers().Draw(t, "total")}
	})
	return rapid.Custom(func(t *rapid.T) load.Sample {
		return load.Sample{
			CPU: busy.Draw(t, "cpu"), Quota: busy.Draw(t, "quota"),
			Memory: fills().Draw(t, "memory"), Conntrack: fills().Draw(t, "conntrack"), Peers: fills().Draw(t, "peers"),
			Uplink: load.Uplink{
				Name: rapid.SampledFrom([]string{"", "eth0", "eth1"}).Draw(t, "name"), Index: rapid.IntRange(0, 2).Draw(t, "index"),
				ReceivedBytes: numbers().Draw(t, "received"), SentBytes: numbers().Draw(t, "sent"),
				ReceivedPackets: numbers().Draw(t, "received packets"), SentPackets: numbers().Draw(t, "sent packets"),
				Capacity: rapid.Int64().Draw(t, "capacity"),
			},
		}
	})
}

// Whatever is counted, a load is one that can be sent: fractions from 0 to 1, rates that are not negative.
func TestAnySample(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		smoothing := rapid.Int64Range(int64(load.MinSmoothing), int64(load.MaxSmoothing)).Draw(t, "smoothing")
		m := meter(t, load.Config{Smoothing: time.Duration(smoothing)})
		at := begin
		for range rapid.IntRange(1, 20).Draw(t, "samples") {
			at = at.Add(time.Duration(rapid.Int64Range(-int64(time.Hour), int64(24*time.Hour)).Draw(t, "elapsed")))
			s := samples().Draw(t, "sample")
			s.At = at
			l := m.Add(s)
			_, err := json.Marshal(l) // which refuses NaN and infinities
			require.NoError(t, err)
			highest := 0.0
			for _, f := range load.Fractions(l) {
				require.GreaterOrEqual(t, f.Value, 0.0, f.Name)
				require.LessOrEqual(t, f.Value, 1.0, f.Name)
				highest = max(highest, f.Value)
			}
			require.InDelta(t, highest, l.Score, 0)
			for _, rate := range []int64{l.ReceivedRate, l.SentRate, l.ReceivedPackets, l.SentPackets} {
				require.GreaterOrEqual(t, rate, int64(0))
			}
		}
	})
}

// What is constant between two samples may be sampled in between as often as one likes.
func TestIrregularSampling(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		often, seldom := meter(t, load.Config{}), meter(t, load.Config{})
		var bytes uint64
		at := begin
		add := func(m *load.Meter, rate uint64) registry.Load {
			up := load.Uplink{Name: "eth0", SentBytes: bytes, Capacity: 8000}
			return m.Add(load.Sample{At: at, Memory: load.Fill{Used: rate, Of: 1000}, Uplink: up})
		}
		add(often, 500)
		add(seldom, 500)
		for range rapid.IntRange(1, 10).Draw(t, "phases") {
			rate := rapid.Uint64Range(0, 1000).Draw(t, "rate") // bytes/s
			var last registry.Load
			for range rapid.IntRange(1, 10).Draw(t, "looks") {
				elapsed := rapid.Uint64Range(1, 100).Draw(t, "seconds")
				at = at.Add(time.Duration(elapsed) * time.Second)
				bytes += rate * elapsed
				last = add(often, rate)
			}
			l := add(seldom, rate)
			require.InDelta(t, *l.Memory, *last.Memory, 2e-4)
			require.InDelta(t, *l.Uplink, *last.Uplink, 2e-4)
			require.Equal(t, l.SentRate, last.SentRate)
		}
	})
}
