package load_test

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/waylume/waylume/registry"
	"github.com/waylume/waylume/registry/load"
)

// constant is a meter whose score follows a fraction at once, but for a rest that is smaller than it tells.
type constant struct {
	*load.Meter
	at      time.Time
	used    uint64
	total   uint64
	without bool // the processors' use is not known
}

const fast = load.MinSmoothing

func newConstant(t require.TestingT, thresholds load.Thresholds) *constant {
	c := &constant{Meter: meter(t, load.Config{Smoothing: fast, Thresholds: thresholds}), at: begin, total: 1}
	c.Add(load.Sample{At: c.at, CPU: load.Busy{Total: c.total}})
	return c
}

// after lets time pass with this score, in one sample.
func (c *constant) after(elapsed time.Duration, score float64) registry.Load {
	const unit = 1_000_000
	c.at = c.at.Add(elapsed)
	c.total += unit
	c.used += uint64(math.Round(score * unit))
	s := load.Sample{At: c.at, CPU: load.Busy{Used: c.used, Total: c.total}}
	if c.without {
		s = load.Sample{At: c.at, Memory: load.Fill{Used: uint64(math.Round(score * unit)), Of: unit}}
	}
	return c.Add(s)
}

// during is after, in steps of 20 s.
func (c *constant) during(elapsed time.Duration, score float64) registry.Scaling {
	const step = 20 * time.Second
	var l registry.Load
	for ; elapsed > 0; elapsed -= step {
		l = c.after(step, score)
	}
	return l.Scaling
}

func TestScalingSignal(t *testing.T) {
	c := newConstant(t, load.Thresholds{})
	require.Equal(t, registry.Steady, c.during(time.Hour, 0.79))
	require.Equal(t, registry.Steady, c.during(3*time.Minute, 0.81))
	require.Equal(t, registry.ScaleOut, c.during(20*time.Second, 0.81))
	require.Equal(t, registry.ScaleOut, c.during(time.Hour, 0.66))
	require.Equal(t, registry.ScaleOut, c.during(time.Minute, 0.64))
	require.Equal(t, registry.ScaleOut, c.during(20*time.Second, 0.66), "that was too short")
	require.Equal(t, registry.ScaleOut, c.during(time.Minute, 0.64))
	require.Equal(t, registry.Steady, c.during(20*time.Second, 0.64))
	require.Equal(t, registry.Steady, c.during(30*time.Minute, 0.1))
	require.Equal(t, registry.ScaleIn, c.during(20*time.Second, 0.1))
	require.Equal(t, registry.ScaleIn, c.during(time.Hour, 0.34))
	require.Equal(t, registry.ScaleIn, c.during(time.Minute, 0.9))
	require.Equal(t, registry.Steady, c.during(20*time.Second, 0.9))
	require.Equal(t, registry.Steady, c.during(3*time.Minute, 0.9))
	require.Equal(t, registry.ScaleOut, c.during(20*time.Second, 0.9))
}

// Of what happened while nobody looked, nothing is known.
func TestScalingNeedsLooks(t *testing.T) {
	c := newConstant(t, load.Thresholds{})
	require.Equal(t, registry.Steady, c.after(24*time.Hour, 1).Scaling)
	require.Equal(t, registry.Steady, c.after(24*time.Hour, 1).Scaling)
	require.Equal(t, registry.ScaleOut, c.after(24*time.Hour, 1).Scaling)
}

func TestScalingOfTheUnknown(t *testing.T) {
	c := newConstant(t, load.Thresholds{})
	c.without = true
	require.Equal(t, registry.Steady, c.during(24*time.Hour, 0.01), "memory that is free does not say that there is nothing to do")
	require.Equal(t, registry.ScaleOut, c.during(time.Hour, 0.99), "memory that is full is reason enough")
	for range 10 {
		c.at = c.at.Add(time.Minute)
		c.Add(load.Sample{At: c.at})
	}
	require.Equal(t, registry.Load{Scaling: registry.Steady}, c.Load(), "nothing is known")
	require.Equal(t, registry.Steady, c.Load().Scaling)
}

func thresholds() *rapid.Generator[load.Thresholds] {
	return rapid.Custom(func(t *rapid.T) load.Thresholds {
		s := rapid.SliceOfNDistinct(rapid.IntRange(1, 100), 4, 4, rapid.ID).Draw(t, "scores")
		h := rapid.SliceOfN(rapid.IntRange(1, 3600), 3, 3).Draw(t, "holds")
		score := func(rank int) float64 { return float64(ranked(s, rank)) / 100 }
		hold := func(rank int) time.Duration { return time.Duration(ranked(h, rank)) * time.Second }
		return load.Thresholds{
			InBelow: score(0), InAbove: score(1), OutBelow: score(2), OutAbove: score(3),
			Settle: hold(0), OutHold: hold(1), InHold: hold(2),
		}
	})
}

// ranked is the number that this many of the others go before.
func ranked(numbers []int, rank int) int {
	for i, n := range numbers {
		before := 0
		for j, other := range numbers {
			if other < n || other == n && j < i {
				before++
			}
		}
		if before == rank {
			return n
		}
	}
	panic("no such rank")
}

func scores() *rapid.Generator[float64] {
	return rapid.Map(rapid.IntRange(0, 100), func(percent int) float64 { return float64(percent) / 100 })
}

func elapses() *rapid.Generator[time.Duration] {
	return rapid.Map(rapid.IntRange(20, 1800), func(seconds int) time.Duration { return time.Duration(seconds) * time.Second })
}

// To call for another number of nodes takes a hold time, to come back takes the time to settle: whatever the load does, the signal does
// not change more often than that.
func TestNoFlapping(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limits := thresholds().Draw(t, "thresholds")
		c := newConstant(t, limits)
		state, since := registry.Steady, c.at
		for range rapid.IntRange(1, 200).Draw(t, "samples") {
			l := c.after(elapses().Draw(t, "elapsed"), scores().Draw(t, "score"))
			if l.Scaling == state {
				continue
			}
			least := map[registry.Scaling]time.Duration{
				registry.ScaleOut: limits.OutHold, registry.ScaleIn: limits.InHold, registry.Steady: limits.Settle,
			}
			require.GreaterOrEqual(t, c.at.Sub(since), least[l.Scaling], "%s after %s", l.Scaling, state)
			require.True(t, state == registry.Steady || l.Scaling == registry.Steady, "from %s to %s", state, l.Scaling)
			state, since = l.Scaling, c.at
		}
	})
}

// A constant load gets the signal that is its own, whatever was before; between two thresholds it may be either side's.
func TestFollowsAConstantLoad(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limits := thresholds().Draw(t, "thresholds")
		c := newConstant(t, limits)
		for range rapid.IntRange(0, 50).Draw(t, "samples before") {
			c.after(elapses().Draw(t, "elapsed"), scores().Draw(t, "score"))
		}
		score := scores().Draw(t, "constant")
		var l registry.Load
		for range 10 { // twice to settle, thrice to be held, and back and forth
			l = c.after(limits.InHold+20*time.Second, score)
		}
		require.InDelta(t, score, l.Score, 1e-4)
		var want []registry.Scaling
		switch {
		case score >= limits.OutAbove:
			want = []registry.Scaling{registry.ScaleOut}
		case score <= limits.InBelow:
			want = []registry.Scaling{registry.ScaleIn}
		case score >= limits.OutBelow:
			want = []registry.Scaling{registry.ScaleOut, registry.Steady}
		case score <= limits.InAbove:
			want = []registry.Scaling{registry.ScaleIn, registry.Steady}
		default:
			want = []registry.Scaling{registry.Steady}
		}
		if score <= limits.InAbove && score >= limits.OutBelow {
			want = append(want, registry.ScaleIn, registry.ScaleOut)
		}
		require.Contains(t, want, l.Scaling)
	})
}

// More load never calls for fewer nodes.
func TestMonotone(t *testing.T) {
	order := map[registry.Scaling]int{registry.ScaleIn: -1, registry.Steady: 0, registry.ScaleOut: 1}
	rapid.Check(t, func(t *rapid.T) {
		limits := thresholds().Draw(t, "thresholds")
		low, high := newConstant(t, limits), newConstant(t, limits)
		for range rapid.IntRange(1, 200).Draw(t, "samples") {
			elapsed, score := elapses().Draw(t, "elapsed"), scores().Draw(t, "score")
			more := score + (1-score)*scores().Draw(t, "more")
			a, b := low.after(elapsed, score), high.after(elapsed, more)
			require.LessOrEqual(t, a.Score, b.Score)
			require.LessOrEqual(t, order[a.Scaling], order[b.Scaling])
		}
	})
}

func TestValidate(t *testing.T) {
	require.NoError(t, load.DefaultThresholds().Validate())
	for name, change := range map[string]func(*load.Thresholds){
		"0 to 1":         func(l *load.Thresholds) { l.OutAbove = 1.01 },
		"not a number":   func(l *load.Thresholds) { l.InBelow = math.NaN() },
		"infinite":       func(l *load.Thresholds) { l.OutAbove = math.Inf(1) },
		"zero":           func(l *load.Thresholds) { l.InBelow = 0 },
		"no hysteresis":  func(l *load.Thresholds) { l.OutBelow = l.OutAbove },
		"crossed":        func(l *load.Thresholds) { l.InAbove = 0.7 },
		"in before out":  func(l *load.Thresholds) { l.InHold = l.OutHold - 1 },
		"no hold":        func(l *load.Thresholds) { l.Settle = 0 },
		"too long":       func(l *load.Thresholds) { l.InHold = load.MaxHold + 1 },
		"settles slowly": func(l *load.Thresholds) { l.Settle = l.OutHold + 1 },
	} {
		limits := load.DefaultThresholds()
		change(&limits)
		require.ErrorIs(t, limits.Validate(), registry.ErrInvalid, name)
		_, err := load.NewMeter(load.Config{Thresholds: limits})
		require.ErrorIs(t, err, registry.ErrInvalid, name)
	}
	for _, smoothing := range []time.Duration{-1, 1, load.MaxSmoothing + 1} {
		_, err := load.NewMeter(load.Config{Smoothing: smoothing, Thresholds: load.Thresholds{OutAbove: 2}})
		require.ErrorContains(t, err, "Smoothing")
		require.ErrorContains(t, err, "OutAbove 2", "each problem is named")
	}
}
