package wgnode

import (
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/quota"
	"github.com/waylume/waylume/usagelog"
)

// TestUsageAfterIsEachByteOnce reports what peers used over removals, a restart and midnight, one peer at a time.
func TestUsageAfterIsEachByteOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "usage")
		seldom := func(c *Config) { c.CheckpointPeriod = 10 * time.Minute }
		r := startRig(t, logTo(t, dir), seldom)
		used, reported := make(map[wgtypes.Key]uint64), make(map[wgtypes.Key]uint64)
		var at usagelog.Position
		report := func() {
			for more := true; more; {
				c, err := r.UsageAfter(t.Context(), at, usagelog.Limits{Subjects: 1, Span: time.Hour})
				require.NoError(t, err)
				require.False(t, c.Lost)
				require.LessOrEqual(t, len(c.Usages), 1)
				again, err := r.UsageOf(t.Context(), at, c.Next)
				require.NoError(t, err)
				require.Equal(t, c.Usages, again.Usages)
				for _, u := range c.Usages {
					key, ok := u.Subject.Peer()
					require.True(t, ok, "accounts are not peers")
					reported[key] += u.Counters.Download
				}
				at, more = c.Next, c.More
			}
		}
		r.account(t, AccountSpec{ID: "acme"})
		for i := range 60 {
			key := r.add(t, PeerSpec{Account: "acme"}).PublicKey
			require.True(t, r.dataplane.move(key, quota.Download, 100))
			used[key] += 100
			time.Sleep(time.Hour)
			synctest.Wait()
			switch i % 4 {
			case 0:
				require.NoError(t, r.RemovePeer(t.Context(), key))
			case 1:
				report()
			case 2:
				require.True(t, r.dataplane.move(key, quota.Download, 7))
				used[key] += 7
				r = r.again(t, logTo(t, dir), seldom)
			}
		}
		report()
		require.Equal(t, used, reported)
		require.NoError(t, r.Close())
		_, err := r.UsageAfter(t.Context(), at, usagelog.Limits{})
		require.ErrorIs(t, err, ErrClosed)
	})
}

// TestUsageAfterNeedsALog asks nodes that have none, or one that cannot.
func TestUsageAfterNeedsALog(t *testing.T) {
	r := startRig(t)
	_, err := r.UsageAfter(t.Context(), usagelog.Position{}, usagelog.Limits{})
	require.ErrorIs(t, err, ErrNoUsageLog)
	r = startRig(t, func(c *Config) {
		log, err := usagelog.Open(t.TempDir(), usagelog.Options{NoSync: true})
		require.NoError(t, err)
		c.UsageLog = struct{ UsageLog }{log}
	})
	_, err = r.UsageOf(t.Context(), usagelog.Position{}, usagelog.Position{})
	require.ErrorIs(t, err, ErrNotSupported)
}
