package ipam_test

import (
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/ipam"
)

// TestQuarantine goes through the life of an address, with the clock that a pool has by default.
func TestQuarantine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pool, err := ipam.New(ipam.Config{Prefixes: prefixes("10.0.0.0/29")})
		require.NoError(t, err)
		start := time.Now()
		var leased []netip.Addr
		for range 5 {
			leased = append(leased, must(pool.Lease(ipam.IPv4)))
		}
		_, err = pool.Lease(ipam.IPv4)
		require.EqualError(t, err, "ipam: no free IPv4 address: all 5 are leased; release some or add a prefix")

		require.NoError(t, pool.Release(leased[3]))
		require.ErrorIs(t, pool.Release(leased[3]), ipam.ErrNotLeased)
		time.Sleep(time.Minute)
		require.NoError(t, pool.Release(leased[0]))
		// Of the two that rest, leased[3] is free first, in four minutes.
		_, err = pool.Lease(ipam.IPv4)
		require.ErrorIs(t, err, ipam.ErrExhausted)
		require.EqualError(t, err, "ipam: no free IPv4 address: of 5, 3 are leased and 2 in quarantine, the first of these until "+
			time.Now().Add(4*time.Minute).Format(time.RFC3339)+"; try again then or add a prefix")
		err = pool.LeaseAddr(leased[3])
		require.EqualError(t, err, "ipam: lease 10.0.0.5: address is in quarantine, until "+
			start.Add(360938*time.Millisecond).Format("2006-01-02T15:04:05.999Z07:00")+" at the latest", "308 of 256 grains, rounded up")

		time.Sleep(4*time.Minute - time.Nanosecond)
		_, err = pool.Lease(ipam.IPv4)
		require.ErrorIs(t, err, ipam.ErrExhausted)
		time.Sleep(time.Nanosecond)
		require.Equal(t, leased[3], must(pool.Lease(ipam.IPv4)))

		require.NoError(t, pool.Discard(leased[3]))
		require.Equal(t, leased[3], must(pool.Lease(ipam.IPv4)), "what was not used needs no rest")
		time.Sleep(ipam.DefaultQuarantine)
		require.NoError(t, pool.LeaseAddr(leased[0]))
	})
}

// TestReusedLast: an address comes up again only after those that were free before it.
func TestReusedLast(t *testing.T) {
	pool, err := ipam.New(ipam.Config{Prefixes: prefixes("10.0.0.0/28"), Quarantine: ipam.NoQuarantine})
	require.NoError(t, err)
	for round := range 3 {
		for i := range 13 {
			a := must(pool.Lease(ipam.IPv4))
			require.Equal(t, v4(uint32(2+i)), a, "round %d", round)
			require.NoError(t, pool.Release(a))
		}
	}
}

// TestOutlyingBound: addresses beyond the window are bounded, those in quarantine too, and the window is not affected.
func TestOutlyingBound(t *testing.T) {
	clock := newWallClock()
	pool, err := ipam.New(ipam.Config{Prefixes: prefixes("fd00::/64"), Now: clock.Now})
	require.NoError(t, err)
	a := netip.MustParseAddr("fd00::100:0")
	for range ipam.MaxOutlying {
		if err := pool.LeaseAddr(a); err != nil {
			t.Fatal(err)
		}
		a = a.Next()
	}
	err = pool.LeaseAddr(a)
	require.ErrorIs(t, err, ipam.ErrExhausted)
	require.ErrorContains(t, err, "above fd00::ff:ffff")
	require.NoError(t, pool.Release(a.Prev()))
	require.ErrorIs(t, pool.LeaseAddr(a), ipam.ErrExhausted)
	require.NoError(t, pool.LeaseAddr(netip.MustParseAddr("fd00::ff:ffff")))
	_, err = pool.Lease(ipam.IPv6)
	require.NoError(t, err)

	s := pool.Snapshot()
	clock.now = clock.now.Add(2 * ipam.DefaultQuarantine)
	require.NoError(t, pool.LeaseAddr(a))
	require.NoError(t, pool.Restore(s))
	require.EqualValues(t, ipam.MaxOutlying-1, pool.Stats()[0].Outlying)
}

// TestStrangeClocks: no clock, however wrong, makes a quarantine end early or a pool fail.
func TestStrangeClocks(t *testing.T) {
	clock := &wallClock{}
	pool, err := ipam.New(ipam.Config{Prefixes: prefixes("10.0.0.0/30"), Now: clock.Now, Quarantine: ipam.MaxQuarantine})
	require.NoError(t, err)
	a := must(pool.Lease(ipam.IPv4))
	require.NoError(t, pool.Release(a))
	clock.now = clock.now.Add(-1000 * time.Hour)
	require.ErrorIs(t, pool.LeaseAddr(a), ipam.ErrQuarantined)
	clock.now = clock.now.AddDate(5000, 0, 0) // further than a Duration goes
	require.NoError(t, pool.LeaseAddr(a))
	require.NoError(t, pool.Release(a))
	clock.now = clock.now.AddDate(5000, 0, 0)
	require.ErrorIs(t, pool.LeaseAddr(a), ipam.ErrQuarantined, "the clock has stopped")
	require.NoError(t, pool.Restore(pool.Snapshot()))
	require.NoError(t, pool.Check())
}

// TestUntilHolds: at the time that an error names the address is free, also when the quarantine before it is one of before
// a restart, which ends at an odd time.
func TestUntilHolds(t *testing.T) {
	for _, list := range []string{"10.0.0.7 10.0.0.8", "fd00::7:0:0:1 fd00::7:0:0:2"} {
		clock := newWallClock()
		cfg := ipam.Config{Prefixes: prefixes("10.0.0.0/24 fd00::/64"), Now: clock.Now, Quarantine: time.Minute}
		pool := must(ipam.New(cfg))
		addrs := strings.Fields(list)
		first, second := netip.MustParseAddr(addrs[0]), netip.MustParseAddr(addrs[1])
		require.NoError(t, pool.LeaseAddr(first))
		require.NoError(t, pool.LeaseAddr(second))
		clock.now = clock.now.Add(100 * time.Millisecond)
		require.NoError(t, pool.Release(first)) // rests up to a grain longer than a minute
		s := pool.Snapshot()

		pool = must(ipam.New(cfg))
		require.NoError(t, pool.Restore(s))
		require.NoError(t, pool.Release(second)) // would rest just a minute
		var detail *ipam.AddrError
		require.ErrorAs(t, pool.LeaseAddr(second), &detail)
		clock.now = detail.Until.Add(-1)
		require.ErrorIs(t, pool.LeaseAddr(second), ipam.ErrQuarantined)
		clock.now = detail.Until
		require.NoError(t, pool.LeaseAddr(second))
	}
}

// TestReleaseUntil gives back what rested before, in the order that the rests end.
func TestReleaseUntil(t *testing.T) {
	for _, list := range []string{"10.0.0.7 10.0.0.8 10.0.0.9 10.0.0.10", "fd00::7:0:0:1 fd00::7:0:0:2 fd00::7:0:0:3 fd00::7:0:0:4"} {
		clock := newWallClock()
		pool := must(ipam.New(ipam.Config{Prefixes: prefixes("10.0.0.0/24 fd00::/64"), Now: clock.Now, Quarantine: time.Minute}))
		begun := clock.now
		var addrs []netip.Addr
		for text := range strings.FieldsSeq(list) {
			addrs = append(addrs, netip.MustParseAddr(text))
			require.NoError(t, pool.LeaseAddr(addrs[len(addrs)-1]))
		}
		over, short, long, full := addrs[0], addrs[1], addrs[2], addrs[3]
		require.NoError(t, pool.ReleaseUntil(over, begun))
		require.NoError(t, pool.ReleaseUntil(short, begun.Add(10*time.Second)))
		require.NoError(t, pool.ReleaseUntil(long, begun.Add(time.Hour)), "no longer than a quarantine")
		require.NoError(t, pool.Release(full))
		require.ErrorIs(t, pool.ReleaseUntil(full, begun), ipam.ErrNotLeased)
		require.NoError(t, pool.Check())

		require.NoError(t, pool.LeaseAddr(over))
		clock.now = begun.Add(10*time.Second - 1)
		require.ErrorIs(t, pool.LeaseAddr(short), ipam.ErrQuarantined)
		clock.now = begun.Add(12 * time.Second) // and a grain
		require.NoError(t, pool.LeaseAddr(short))
		clock.now = begun.Add(time.Minute - 1)
		require.ErrorIs(t, pool.LeaseAddr(long), ipam.ErrQuarantined)
		clock.now = begun.Add(65 * time.Second)
		require.NoError(t, pool.LeaseAddr(long))
		require.NoError(t, pool.LeaseAddr(full))
	}
}
