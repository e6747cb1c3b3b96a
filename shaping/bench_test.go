package shaping

import (
	"fmt"
	"strconv"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"
)

func newBenchScheduler(t testing.TB) *Scheduler {
	s, err := NewScheduler(Config{MTU: testMTU, Output: func(packets []*Packet) {
		for _, p := range packets {
			p.Free()
		}
	}})
	require.NoError(t, err)
	s.Start()
	t.Cleanup(s.Close)
	return s
}

func mustLeaf(t testing.TB, s *Scheduler, id, group string, rate Rate) *Leaf {
	l, err := s.SetLeaf(id, group, rate)
	require.NoError(t, err)
	return l
}

// TestIdleLeafIsSmall holds the size that the package documentation states.
func TestIdleLeafIsSmall(t *testing.T) {
	require.LessOrEqual(t, unsafe.Sizeof(Leaf{}), uintptr(240))
	require.LessOrEqual(t, unsafe.Sizeof(group{}), uintptr(240))
	require.EqualValues(t, 64, unsafe.Sizeof(flowQueue{}), "a cache line")
}

func TestNoAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("sync.Pool drops items at random under the race detector")
	}
	s := newBenchScheduler(t)
	require.NoError(t, s.SetGroup("g", 100e6))
	leaves := map[string]*Leaf{
		"unlimited": mustLeaf(t, s, "unlimited", "", 0),
		"tokens":    mustLeaf(t, s, "tokens", "", 100e9),
		"backlog":   mustLeaf(t, s, "backlog", "g", 50e6),
	}
	for name, l := range leaves {
		one := func() { l.Enqueue(s.NewPacket(testMTU)) }
		for range 1000 {
			one()
		}
		require.Zero(t, testing.AllocsPerRun(2000, one), name)
		batch := make([]*Packet, 32)
		require.Zero(t, testing.AllocsPerRun(200, func() {
			for i := range batch {
				batch[i] = s.NewPacket(testMTU)
				batch[i].Flow = uint32(i)
			}
			l.Enqueue(batch...)
		}), name)
	}
	l := leaves["backlog"]
	require.NotZero(t, l.Stats().DroppedPackets, "there was a backlog")
	require.Zero(t, testing.AllocsPerRun(200, func() { l.Stats(); l.Unshaped() }))
}

// BenchmarkCutThrough is a packet that nothing holds up, alone and in batches of 32.
func BenchmarkCutThrough(b *testing.B) {
	for _, c := range []struct {
		name              string
		leaf, group, root Rate
	}{{name: "unlimited"}, {"leaf", 900e9, 0, 0}, {"leaf+group", 900e9, 900e9, 0}, {"leaf+group+root", 900e9, 900e9, 900e9}} {
		for _, size := range []int{1, 32} {
			b.Run(fmt.Sprintf("%s/batch=%d", c.name, size), func(b *testing.B) {
				s := newBenchScheduler(b)
				require.NoError(b, s.SetRoot(c.root))
				require.NoError(b, s.SetGroup("g", c.group))
				l := mustLeaf(b, s, "a", "g", c.leaf)
				packets := make([]*Packet, size)
				b.ReportAllocs()
				for b.Loop() {
					for i := range packets {
						packets[i] = s.NewPacket(testMTU)
					}
					l.Enqueue(packets...)
				}
				perPacket(b, size)
			})
		}
	}
}

// perPacket reports the time of one packet where an operation has many.
func perPacket(b *testing.B, n int) {
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/packet")
}

// BenchmarkParallel is many leaves, each in a group of its own, on all cores.
func BenchmarkParallel(b *testing.B) {
	for _, root := range []Rate{Unlimited, 900e9} {
		b.Run("root="+root.String(), func(b *testing.B) {
			s := newBenchScheduler(b)
			require.NoError(b, s.SetRoot(root))
			var n atomic.Int64
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				l := mustLeaf(b, s, strconv.FormatInt(n.Add(1), 10), "", 900e9)
				for pb.Next() {
					l.Enqueue(s.NewPacket(testMTU))
				}
			})
		})
	}
}

// BenchmarkBacklogged is the work for a packet that is queued and leaves by the pacer, over so many leaves: enqueue, CoDel,
// the turns of flows and leaves, timers. The clock is stepped, so that no time is spent waiting.
func BenchmarkBacklogged(b *testing.B) {
	for _, leaves := range []int{1, 1000, 10_000} {
		b.Run(fmt.Sprintf("leaves=%d", leaves), func(b *testing.B) {
			s, err := NewScheduler(Config{MTU: testMTU, Memory: 1 << 30, Output: func(packets []*Packet) {
				for _, p := range packets {
					p.Free()
				}
			}})
			require.NoError(b, err)
			defer s.Close()
			s.state.Store(stateRunning) // without the goroutine: serve is called from here
			const rate = 10e6
			all := make([]*Leaf, leaves)
			for i := range all {
				all[i] = mustLeaf(b, s, strconv.Itoa(i), "", rate)
				for j := range 4 {
					p := s.NewPacket(testMTU)
					p.Flow = uint32(j)
					all[i].Enqueue(p)
				}
			}
			// Each leaf gets a packet in the time that it may send one.
			step := Rate(rate).Duration(testMTU) / time.Duration(leaves)
			batch, sent := s.getBatch(), s.sentPackets()
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				p := s.NewPacket(testMTU)
				p.Flow = uint32(i)
				all[i%leaves].Enqueue(p)
				s.epoch = s.epoch.Add(-step)
				s.serve(batch)
				i++
			}
			b.ReportMetric(float64(s.sentPackets()-sent)/float64(b.N), "sent/op")
		})
	}
}

func (s *Scheduler) sentPackets() (n uint64) {
	for _, l := range s.leaves {
		n += l.Stats().SentPackets
	}
	return n
}

// BenchmarkOverload is a packet that finds its queue full.
func BenchmarkOverload(b *testing.B) {
	s := newBenchScheduler(b)
	l := mustLeaf(b, s, "a", "", 1e6)
	b.ReportAllocs()
	for b.Loop() {
		l.Enqueue(s.NewPacket(testMTU))
	}
}

// BenchmarkLimitChange is a change of limit beside so many other leaves.
func BenchmarkLimitChange(b *testing.B) {
	for _, leaves := range []int{1, 10_000} {
		b.Run(fmt.Sprintf("leaves=%d", leaves), func(b *testing.B) {
			s := newBenchScheduler(b)
			for i := range leaves {
				mustLeaf(b, s, strconv.Itoa(i), "", 1e6)
			}
			i := 0
			b.ReportAllocs()
			for b.Loop() {
				i++
				mustLeaf(b, s, "0", "", 1e6+Rate(i%1000))
			}
		})
	}
}
