// Package heap measures what something keeps on the heap, for tests and benchmarks that hold it to a bound.
//
// Only tests import it. It needs no privilege and starts nothing.
package heap

import (
	"runtime"
	"testing"
)

// Room is how much above its bound a test lets a figure be: the allocator's size classes, and what grows by doubling, differ from
// one number of items and one version of Go to the next.
const Room = 1.5

// PerItem is how many bytes of live heap what build returns keeps for each of n items, without what build itself leaves behind. What
// others allocate and keep meanwhile is measured, too: n is to be large, and no test runs beside.
func PerItem(n int, build func() any) float64 {
	before := live()
	kept := build()
	after := live()
	runtime.KeepAlive(kept)
	return (float64(after) - float64(before)) / float64(n)
}

// live is what is reachable, in bytes: one collection may leave what finalizers and pools keep for another one.
func live() uint64 {
	for range 3 {
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// Report has a benchmark tell PerItem in bytes of each peer.
func Report(b *testing.B, n int, build func() any) {
	b.Helper()
	var bytes float64
	for b.Loop() {
		bytes = PerItem(n, build)
	}
	b.ReportMetric(bytes, "B/peer")
}
