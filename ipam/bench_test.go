package ipam_test

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/ipam"
)

const slash8 = 1 << 24

// fills are the states of 10.0.0.0/8 that the benchmarks look at.
var fills = []struct {
	name string
	fill func(testing.TB, *ipam.Pool)
}{
	{"empty", func(testing.TB, *ipam.Pool) {}},
	{"half", func(t testing.TB, p *ipam.Pool) { // every second address, which is the worst for the bitmaps
		for n := uint32(2); n < slash8-1; n += 2 {
			if err := p.LeaseAddr(v4(n)); err != nil {
				t.Fatal(err)
			}
		}
	}},
	{"full", func(t testing.TB, p *ipam.Pool) { // all but one in the middle
		require.NoError(t, p.LeaseRange(v4(2), v4(slash8-2)))
		require.NoError(t, p.Discard(v4(slash8/2)))
	}},
}

// filled returns a pool over 10.0.0.0/8 and a /64.
func filled(b *testing.B, fill func(testing.TB, *ipam.Pool)) *ipam.Pool {
	pool, err := ipam.New(ipam.Config{Quarantine: 1})
	require.NoError(b, err)
	fill(b, pool)
	return pool
}

func BenchmarkLeaseRelease(b *testing.B) {
	for _, f := range fills {
		b.Run(f.name, func(b *testing.B) {
			pool := filled(b, f.fill)
			b.ReportAllocs()
			for b.Loop() {
				a, err := pool.Lease(ipam.IPv4)
				if err := errors.Join(err, pool.Release(a)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkLeaseForRelease(b *testing.B) {
	for _, f := range fills {
		b.Run(f.name, func(b *testing.B) {
			pool := filled(b, f.fill)
			key := make([]byte, 32) // as long as a public key
			var n uint64
			b.ReportAllocs()
			for b.Loop() {
				n++
				binary.LittleEndian.PutUint64(key, n)
				a, err := pool.LeaseFor(ipam.IPv4, key)
				if err := errors.Join(err, pool.Release(a)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkOutlying leases and releases an address beyond the window of a /64.
func BenchmarkOutlying(b *testing.B) {
	pool := filled(b, fills[0].fill)
	base := ipam.DefaultIPv6().Addr().As16()
	var n uint64
	b.ReportAllocs()
	for b.Loop() {
		n++
		binary.BigEndian.PutUint64(base[8:], n<<32)
		a := netip.AddrFrom16(base)
		if err := errors.Join(pool.LeaseAddr(a), pool.Release(a)); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParallel(b *testing.B) {
	pool := filled(b, fills[0].fill)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			a, err := pool.Lease(ipam.IPv6)
			if err := errors.Join(err, pool.Release(a)); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

// BenchmarkFill leases all of 10.0.0.0/8; ns/lease is the figure to look at.
func BenchmarkFill(b *testing.B) {
	for b.Loop() {
		pool := filled(b, fills[0].fill)
		for {
			if _, err := pool.Lease(ipam.IPv4); err != nil {
				break
			}
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/(slash8-3), "ns/lease")
}

// BenchmarkMemory makes a pool and fills it; MB/pool is what it then keeps.
func BenchmarkMemory(b *testing.B) {
	for _, f := range fills {
		b.Run(f.name, func(b *testing.B) {
			var used int64
			for b.Loop() {
				before := heapInUse()
				pool := filled(b, f.fill)
				used = heapInUse() - before
				_ = pool.Families()
			}
			b.ReportMetric(float64(used)/1e6, "MB/pool")
		})
	}
}

func BenchmarkSnapshot(b *testing.B) {
	for _, f := range fills {
		b.Run(f.name, func(b *testing.B) {
			pool := filled(b, f.fill)
			var s ipam.Snapshot
			b.ReportAllocs()
			for b.Loop() {
				s = pool.Snapshot()
			}
			b.ReportMetric(float64(len(must(s.MarshalBinary()))), "B/snapshot")
		})
	}
}

func BenchmarkRestore(b *testing.B) {
	for _, f := range fills {
		b.Run(f.name, func(b *testing.B) {
			pool := filled(b, f.fill)
			s := pool.Snapshot()
			b.ReportAllocs()
			for b.Loop() {
				if err := pool.Restore(s); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
