package quota_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/internal/testutil/heap"
	"github.com/waylume/waylume/quota"
)

func monthly() quota.Cap {
	return quota.Cap{Bytes: 500 * quota.GiB, Period: quota.Period{Kind: quota.Monthly, TimeZone: "Europe/Berlin"}}
}

// TestSharedCapsStayApart has ledgers share caps: each shows its own, as it was given, and one that gets another leaves the rest.
func TestSharedCapsStayApart(t *testing.T) {
	var caps quota.Caps
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	given := []quota.Cap{
		monthly(), monthly(), {}, {Bytes: quota.GiB}, {Bytes: quota.GiB, Thresholds: []int{}}, {Bytes: quota.GiB, Thresholds: []int{80, 100}},
		{Bytes: quota.GiB, Thresholds: []int{100, 80}}, {Bytes: quota.GiB, Thresholds: []int{64}}, {Bytes: quota.GiB, Thresholds: []int{63, 64}},
		{Bytes: quota.GiB, Counted: quota.CountUpload}, {Bytes: quota.GiB, AtEnd: quota.Throttle, ThrottleDownload: 8000},
		{Bytes: quota.GiB, AtEnd: quota.Throttle, ThrottleUpload: 8000},
	}
	ledgers := make([]*quota.Ledger, len(given))
	for i, limit := range given {
		var err error
		ledgers[i], err = quota.NewLedger(limit, now, quota.Counters{})
		require.NoError(t, err)
		before, err := ledgers[i].MarshalJSON()
		require.NoError(t, err)
		caps.Share(ledgers[i])
		after, err := ledgers[i].MarshalJSON()
		require.NoError(t, err)
		require.JSONEq(t, string(before), string(after))
	}
	require.NoError(t, ledgers[0].SetCap(quota.Cap{Bytes: quota.MiB}, now, quota.Counters{}))
	for i, limit := range given[1:] {
		require.Equal(t, limit, ledgers[i+1].Cap())
	}
}

// TestManyCaps has more caps than are kept.
func TestManyCaps(t *testing.T) {
	var caps quota.Caps
	for i := range 3000 {
		limit := quota.Cap{Bytes: quota.Bytes(i + 1)}
		l, err := quota.NewLedger(limit, time.Now(), quota.Counters{})
		require.NoError(t, err)
		caps.Share(l)
		require.Equal(t, limit, l.Cap())
	}
}

// TestLedgerMemory holds what a ledger costs whose cap others have too.
func TestLedgerMemory(t *testing.T) {
	const n = 20_000
	got := heap.PerItem(n, func() any {
		var caps quota.Caps
		ledgers := make([]*quota.Ledger, n)
		for i := range ledgers {
			var err error
			ledgers[i], err = quota.NewLedger(monthly(), time.Now(), quota.Counters{})
			require.NoError(t, err)
			caps.Share(ledgers[i])
		}
		return ledgers
	})
	require.Less(t, got, heap.Room*184)
}
