package ipam_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/ipam"
)

// fillPrefix is 10.0.0.0/8, or less of it where that would take long.
func fillPrefix() netip.Prefix {
	if raceEnabled || testing.Short() {
		return netip.MustParsePrefix("10.0.0.0/14")
	}
	return ipam.DefaultIPv4()
}

func v4(n uint32) netip.Addr {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], 10<<24+n)
	return netip.AddrFrom4(b)
}

// scattered calls do with every number below n, a power of two, in an order that jumps about: that of a linear
// congruential generator of full period (Knuth, volume 2, theorem 3.2.1.2A).
func scattered(n uint32, do func(uint32)) {
	x := uint32(1)
	for range n {
		x = (x*1664525 + 1013904223) & (n - 1)
		do(x)
	}
}

// heapInUse is measured with no garbage about.
func heapInUse() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// TestFill takes every address of 10.0.0.0/8 and gives them all back.
func TestFill(t *testing.T) {
	clock := newWallClock()
	prefix := fillPrefix()
	size := uint32(1) << (32 - prefix.Bits())
	before := heapInUse()
	grown := func() float64 { return float64(heapInUse()-before) / (1 << 20) }
	pool, err := ipam.New(ipam.Config{Prefixes: []netip.Prefix{prefix}, Quarantine: time.Minute, Now: clock.Now})
	require.NoError(t, err)
	require.Less(t, grown(), 0.5)

	for n := uint32(2); n < size-1; n++ {
		if got, err := pool.Lease(ipam.IPv4); err != nil || got != v4(n) {
			t.Fatalf("lease %d is %s: %v", n, got, err)
		}
	}
	require.Less(t, grown(), 0.5, "a full pool takes no more than an empty one")
	_, err = pool.Lease(ipam.IPv4)
	require.ErrorIs(t, err, ipam.ErrExhausted)
	require.ErrorContains(t, err, fmt.Sprintf("all %d are leased", size-3))
	_, err = pool.LeaseFor(ipam.IPv4, []byte("key"))
	require.ErrorIs(t, err, ipam.ErrExhausted)
	require.ErrorIs(t, pool.LeaseAddr(v4(77)), ipam.ErrTaken)
	full := pool.Snapshot()
	text, err := full.MarshalText()
	require.NoError(t, err)
	require.Less(t, len(text), 100)

	// Half of them go, scattered, and all of them in the end.
	released := uint32(0)
	scattered(size, func(n uint32) {
		if n < 2 || n == size-1 {
			return
		}
		if err := pool.Release(v4(n)); err != nil {
			t.Fatal(err)
		}
		if released++; released == size/2 {
			require.NoError(t, pool.Check())
			require.Less(t, grown(), 0.5+float64(size)*(4*0.5+0.2)/(1<<20), "4 bytes for each in quarantine, and a bitmap")
		}
	})
	_, err = pool.Lease(ipam.IPv4)
	var exhausted *ipam.ExhaustedError
	require.ErrorAs(t, err, &exhausted)
	require.EqualValues(t, size-3, exhausted.Quarantined)
	require.True(t, clock.now.Add(time.Minute).Equal(exhausted.Until))

	clock.now = clock.now.Add(time.Minute)
	got, err := pool.Lease(ipam.IPv4)
	require.NoError(t, err)
	require.Equal(t, v4(2), got)
	require.EqualValues(t, size-4, pool.Stats()[0].Free)
	require.Less(t, grown(), 0.5, "the quarantine's memory is given back")
	require.NoError(t, pool.Restore(full))
	require.EqualValues(t, 0, pool.Stats()[0].Free)
	require.NoError(t, pool.Check())
}

// TestScatteredMemory has every second address leased, which is the worst for the bitmaps.
func TestScatteredMemory(t *testing.T) {
	prefix := fillPrefix()
	size := uint32(1) << (32 - prefix.Bits())
	before := heapInUse()
	pool, err := ipam.New(ipam.Config{Prefixes: []netip.Prefix{prefix}, Quarantine: ipam.NoQuarantine})
	require.NoError(t, err)
	for n := uint32(2); n < size-1; n += 2 {
		if err := pool.LeaseAddr(v4(n)); err != nil {
			t.Fatal(err)
		}
	}
	used := heapInUse() - before
	require.Less(t, used, int64(size)/8*5/2+1<<19, "two bitmaps and their summaries")
	t.Logf("%d leases in %.1f MB, snapshot of %d bytes", size/2, float64(used)/1e6, len(must(pool.Snapshot().MarshalBinary())))
	require.NoError(t, pool.Check())
}

// TestNearExhaustion keeps all but a few addresses leased: which one is found does not depend on where the free ones are.
func TestNearExhaustion(t *testing.T) {
	prefix := fillPrefix()
	size := uint32(1) << (32 - prefix.Bits())
	pool, err := ipam.New(ipam.Config{Prefixes: []netip.Prefix{prefix}, Quarantine: ipam.NoQuarantine})
	require.NoError(t, err)
	require.NoError(t, pool.LeaseRange(v4(2), v4(size-2)))
	_, err = pool.Lease(ipam.IPv4)
	require.ErrorIs(t, err, ipam.ErrExhausted)
	for _, n := range []uint32{2, size / 2, size - 2, 4095, 4096, size / 4} {
		require.NoError(t, pool.Release(v4(n)))
		got, err := pool.Lease(ipam.IPv4)
		require.NoError(t, err)
		require.Equal(t, v4(n), got)
		require.NoError(t, pool.Release(v4(n)))
		got, err = pool.LeaseFor(ipam.IPv4, []byte("any"))
		require.NoError(t, err)
		require.Equal(t, v4(n), got)
	}
	// A crowded pool does not allocate for each change.
	allocs := testing.AllocsPerRun(1000, func() {
		if err := errors.Join(pool.Release(v4(77)), pool.LeaseAddr(v4(77))); err != nil {
			t.Fatal(err)
		}
	})
	require.Zero(t, allocs)
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
