package shaping

import (
	"math/big"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// TestBucketIsExact holds the bucket to arithmetic without rounding or overflow, however its refills are spaced.
func TestBucketIsExact(t *testing.T) {
	planner := newPlanner(t)
	rapid.Check(t, func(t *rapid.T) {
		var b bucket
		now, stalled := int64(0), int64(0)
		at := func() moment { return moment{now, stalled} }
		tokens := new(big.Int)
		setTo := func(rate Rate, fresh bool) {
			params := planner.Group(rate)
			b.set(params, at())
			burst := new(big.Int).Mul(big.NewInt(int64(params.Cburst)), big.NewInt(unitsPerByte))
			if fresh || tokens.Cmp(burst) > 0 {
				tokens.Set(burst)
			}
		}
		drawLimit := rapid.Uint64Range(uint64(MinRate), uint64(MaxRate)-1)
		rate := Rate(drawLimit.Draw(t, "rate"))
		setTo(rate, true)
		advance := func(d, late int64) {
			if now += d; d == 0 {
				return
			}
			cap := big.NewInt(int64(planner.Group(rate).Cburst))
			cap.Mul(cap, big.NewInt(unitsPerByte))
			owed := big.NewInt(min(late, maxLate, maxBurst*unitsPerByte/int64(rate)))
			owed.Mul(owed, big.NewInt(int64(rate)))
			cap.Add(cap, owed)
			if tokens.Cmp(cap) >= 0 {
				return
			}
			gain := new(big.Int).Mul(big.NewInt(int64(rate)), big.NewInt(d))
			if tokens.Add(tokens, gain); tokens.Cmp(cap) > 0 {
				tokens.Set(cap)
			}
		}
		for range rapid.IntRange(1, 50).Draw(t, "operations") {
			switch rapid.IntRange(0, 3).Draw(t, "operation") {
			case 0:
				d := rapid.Int64Range(0, 1e12).Draw(t, "elapsed")
				late := rapid.SampledFrom([]int64{0, 0, 1e6, maxLate, 3 * maxLate}).Draw(t, "late")
				if d == 0 {
					late = 0
				}
				advance(d, late)
				stalled += late
				if late > 0 {
					b.refillWaiting(at())
				} else {
					b.refill(at())
				}
			case 1:
				if b.open() {
					n := rapid.Int64Range(1, maxMTU).Draw(t, "bytes")
					b.take(n)
					tokens.Sub(tokens, new(big.Int).Mul(big.NewInt(n), big.NewInt(unitsPerByte)))
				}
			case 2:
				rate = Rate(drawLimit.Draw(t, "rate"))
				setTo(rate, false)
			case 3:
				if opens := b.opensAt(); opens > now {
					advance(opens-now-1, 0)
					require.False(t, b.ready(at()), "a nanosecond early")
					advance(1, 0)
					b.refillWaiting(at())
					require.True(t, b.open(), "at the time it said")
				}
			}
			require.Equal(t, tokens.String(), big.NewInt(b.tokens).String())
		}
	})
}

func TestUnlimitedBucket(t *testing.T) {
	var b bucket
	b.take(1 << 40)
	require.True(t, b.ready(moment{}))
	b.set(Params{Ceil: 1e6, Cburst: 3000}, moment{now: 5})
	require.EqualValues(t, 3000, b.bytes(), "a limit that is new begins with a burst")
	b.take(2999)
	require.EqualValues(t, 1, b.bytes())
	b.take(1500)
	require.Zero(t, b.bytes())
	b.set(Params{Ceil: MaxRate}, moment{now: 6})
	require.True(t, b.open(), "a debt ends with the limit")
}

func TestTimers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var h timers[int]
		all := make([]timer[int], 20)
		model := make(map[int]int64)
		for i := range all {
			all[i].owner = i
		}
		for range rapid.IntRange(1, 100).Draw(t, "operations") {
			i := rapid.IntRange(0, len(all)-1).Draw(t, "timer")
			switch rapid.IntRange(0, 3).Draw(t, "operation") {
			case 0, 1:
				at := rapid.Int64Range(0, 30).Draw(t, "at")
				h.set(&all[i], at)
				model[i] = at
			case 2:
				h.remove(&all[i])
				delete(model, i)
			case 3:
				if len(model) > 0 {
					at := h.next()
					owner := h.pop()
					require.Equal(t, model[owner], at)
					delete(model, owner)
					for _, later := range model {
						require.GreaterOrEqual(t, later, at)
					}
				}
			}
			require.Len(t, h.entries, len(model))
			least := never
			for _, at := range model {
				least = min(least, at)
			}
			require.Equal(t, least, h.next())
			for i, e := range h.entries {
				require.EqualValues(t, i+1, e.timer.index)
			}
		}
		require.False(t, slices.ContainsFunc(h.entries[len(h.entries):cap(h.entries)], func(e timerEntry[int]) bool { return e.timer != nil }),
			"what is taken out is not kept alive")
	})
}
