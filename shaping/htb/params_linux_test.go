package htb

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/waylume/waylume/shaping"
)

func TestClassParams(t *testing.T) {
	planner, err := shaping.NewPlanner(0, shaping.Tuning{})
	require.NoError(t, err)
	leaf := func(r shaping.Rate) classParams { return classOf(planner.Leaf(r, 0, 0)) }
	// 10 ms of 20 Mbit/s are 25,000 bytes; in ticks of 64 ns they are 156,250.
	require.Equal(t, classParams{rate: 1, ceil: 2_500_000, buffer: math.MaxUint32, cbuffer: 156_250, quantum: 2840}, leaf(20e6))
	// Two packets take 2.84 s at the slowest rate.
	require.Equal(t, classParams{rate: 1, ceil: 1000, buffer: math.MaxUint32, cbuffer: 44_375_000, quantum: 2840}, leaf(shaping.MinRate))
	// 128 MiB at 1 Tbit/s, which is above 32 bits of bytes.
	require.Equal(t, classParams{rate: 1, ceil: 125e9, buffer: math.MaxUint32, cbuffer: 16_778, quantum: 2840}, leaf(0))
	root := classOf(planner.Root(40e9))
	require.Equal(t, classParams{rate: 5e9, ceil: 5e9, buffer: 156_250, cbuffer: 156_250, quantum: 2840}, root)
	o := root.object(3, 9, rootHandle)
	require.EqualValues(t, math.MaxUint32, o.Htb.Parms.Rate.Rate)
	require.EqualValues(t, 5_000_000_000, *o.Htb.Rate64)
	require.EqualValues(t, 5_000_000_000, *o.Htb.Ceil64)
	require.Nil(t, leaf(20e6).object(3, 9, rootHandle).Htb.Ceil64)
}

func TestTicks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 128<<20).Draw(t, "bytes")
		rate := rapid.Uint64Range(1, uint64(shaping.MaxRate/8)).Draw(t, "rate")
		exact := float64(n) * 1e9 / 64 / float64(rate)
		got := float64(ticks(n, rate))
		require.GreaterOrEqual(t, got, min(exact, math.MaxUint32)*(1-1e-12))
		require.LessOrEqual(t, got, exact+1.001)
	})
	require.EqualValues(t, math.MaxUint32, ticks(math.MaxInt64, 1))
}

func TestQueueParams(t *testing.T) {
	planner, err := shaping.NewPlanner(0, shaping.Tuning{})
	require.NoError(t, err)
	require.Equal(t, queueParams{kind: queueBfifo, limit: 64<<10 + 1420}, queueOf(queueBfifo, planner.Leaf(1e6, 0, 0)))
	require.Equal(t, queueParams{kind: queueBfifo, limit: 125_000}, queueOf(queueBfifo, planner.Leaf(0, 0, 20e6)))
	require.Equal(t, queueParams{kind: queueTbf, limit: 14_200, longest: 2840}, queueOf(queueTbf, planner.Leaf(1e6, 0, 0)))
	require.Equal(t, queueParams{kind: queueTbf, limit: 500_000, longest: 2840}, queueOf(queueTbf, planner.Leaf(80e6, 0, 0)))
	require.Equal(t, queueParams{kind: queueTbf, limit: 625_000, longest: unsegmented}, queueOf(queueTbf, planner.Leaf(0, 100e6, 0)))
	slow := planner.Leaf(1e6, 0, 0)
	require.LessOrEqual(t, queueOf(queueTbf, slow).longest, classOf(slow).quantum, "siblings share as their packets are long")
	q := queueOf(queueFqCodel, planner.Leaf(20e6, 0, 0))
	require.Equal(t, queueParams{
		kind: queueFqCodel, limit: 500_000 / 256, memory: 1_000_000 + 256<<10, flows: 32, quantum: 1420, targetMicros: 4999, everMicros: 99999,
	}, q)
	rapid.Check(t, func(t *rapid.T) {
		d := rapid.Int64Range(0, int64(20*time.Second)).Draw(t, "time")
		us := codelMicros(time.Duration(d))
		require.InDelta(t, d/1000, us, 2)
		require.Equal(t, us, codelMicros(time.Duration(us+1)*time.Microsecond), "the kernel says what it was told")
	})
}
