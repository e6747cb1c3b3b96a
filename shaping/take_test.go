package shaping

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestTakeRate sends past the queue whatever may leave, and queues the rest: both together are the limit.
func TestTakeRate(t *testing.T) {
	for _, rate := range []Rate{100e3, 10e6, 100e6} {
		t.Run(rate.String(), func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				a := w.leaf("a", "", rate)
				taken, sizes := 0, []int{testMTU, 100, testMTU}
				const d = 5 * time.Second
				for began := time.Now(); time.Since(began) < d; time.Sleep(100 * time.Microsecond) {
					n := a.leaf.Take(sizes)
					for _, size := range sizes[:n] {
						taken += size
					}
					if n == 0 && a.leaf.Stats().BacklogPackets == 0 {
						a.send(1, testMTU, 2)
					}
				}
				w.run(0)
				require.Positive(t, taken)
				// A burst is 10 ms or two packets, and one more may be on its way at either end.
				burst := max(float64(rate.Bytes(10*time.Millisecond)), 2*testMTU) + 2*testMTU
				require.InDelta(t, float64(rate.Bytes(d)), float64(taken+w.sent()["a"]), burst)
			})
		})
	}
}

// TestTake takes tokens in turn with a group's other leaves, and never past what waits.
func TestTake(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.group("g", 1e6)
		a, b := w.leaf("a", "g", 0), w.leaf("b", "g", 0)
		full := make([]int, 2*batchSize)
		for i := range full {
			full[i] = testMTU
		}
		n := a.leaf.Take(full)
		require.Positive(t, n)
		require.Less(t, n, batchSize, "a burst is a few packets")
		require.Zero(t, b.leaf.Take(full), "the group has no more")
		require.Equal(t, LeafStats{SentPackets: uint64(n), SentBytes: uint64(n * testMTU)}, a.leaf.Stats())

		time.Sleep(time.Second)
		a.send(1, testMTU, 10)
		require.Zero(t, a.leaf.Take(full), "not before what is queued")
		w.run(time.Second)
		require.Positive(t, b.leaf.Take(full))

		free := w.leaf("free", "", Unlimited)
		require.Equal(t, batchSize, free.leaf.Take(full))
		require.Equal(t, 3, free.leaf.Take(full[:3]))
		require.Zero(t, free.leaf.Take(nil))
		w.s.RemoveLeaf("free")
		require.Zero(t, free.leaf.Take(full), "who has left takes nothing")
	})
}
