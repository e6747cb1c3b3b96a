package wgnode

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/quota"
	"github.com/waylume/waylume/usagelog"
)

// logTo has a node keep a usage log in a directory.
func logTo(t testing.TB, dir string) func(*Config) {
	t.Helper()
	return func(c *Config) {
		log, err := usagelog.Open(dir, usagelog.Options{NoSync: true})
		require.NoError(t, err)
		c.UsageLog = log
	}
}

// inDirectory is the sums that a log has in all, by subject.
func inDirectory(t require.TestingT, dir string) map[usagelog.Subject]uint64 {
	r, err := usagelog.OpenReader(dir)
	require.NoError(t, err)
	s, err := r.Usage(context.Background(), time.Time{}, time.Now().AddDate(100, 0, 0), nil)
	require.NoError(t, err)
	require.Empty(t, s.Damage)
	sums := make(map[usagelog.Subject]uint64)
	for _, u := range s.Usages {
		sums[u.Subject] = u.Counters.Download + u.Counters.Upload
	}
	return sums
}

// bytes are the usages of a summary, by subject and number.
func (s UsageSummary) bytes() map[string]uint64 {
	sums := make(map[string]uint64)
	for _, u := range s.Usages {
		sums[fmt.Sprint(u.Subject, " ", u.Sequence)] = u.Counters.Download + u.Counters.Upload
	}
	return sums
}

func (r *rig) between(t testing.TB, from, to time.Time, only ...Subject) UsageSummary {
	t.Helper()
	s, err := r.UsageBetween(t.Context(), from, to, only...)
	require.NoError(t, err)
	require.Empty(t, s.Damage)
	return s
}

// TestUsageByHourAndDay asks a node what was used in hours that begin and end with a reading, of peers and accounts, some of
// which are gone, over a restart.
func TestUsageByHourAndDay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "usage")
		time.Sleep(7 * time.Minute) // it is 00:07
		r := startRig(t, logTo(t, dir))
		begin := time.Now().UTC().Truncate(time.Hour)
		at := func(hours float64) time.Time { return begin.Add(time.Duration(hours * float64(time.Hour))) }
		r.account(t, AccountSpec{ID: "acme"})
		stays := r.add(t, PeerSpec{Account: "acme"}).PublicKey
		leaves := r.add(t, PeerSpec{Account: "acme"}).PublicKey
		alone := r.add(t, PeerSpec{ExpiresAt: at(3.2)}).PublicKey
		for _, key := range []wgtypes.Key{stays, leaves, alone} {
			require.True(t, r.dataplane.move(key, quota.Download, 100))
		}
		time.Sleep(time.Until(at(1.3))) // 01:18
		require.True(t, r.dataplane.move(stays, quota.Upload, 7))
		require.True(t, r.dataplane.move(leaves, quota.Upload, 20))
		require.NoError(t, r.RemovePeer(t.Context(), leaves))
		time.Sleep(time.Until(at(2.1)))
		synctest.Wait()

		stay, leave, acme := fmt.Sprint(OfPeer(stays), " 2"), fmt.Sprint(OfPeer(leaves), " 3"), `account "acme" 1`
		lone := fmt.Sprint(OfPeer(alone), " 4")
		hour := r.between(t, at(1), at(2))
		require.Equal(t, usagelog.Span{From: at(1), To: at(2)}, hour.Span)
		require.Equal(t, map[string]uint64{stay: 7, leave: 20, acme: 27}, hour.bytes())
		require.Equal(t, map[string]uint64{stay: 100, leave: 100, acme: 200, lone: 100}, r.between(t, at(0), at(1)).bytes())
		require.Equal(t, map[string]uint64{leave: 120}, r.between(t, at(0), at(9), OfPeer(leaves)).bytes())
		require.Equal(t, map[string]uint64{acme: 227, lone: 100},
			r.between(t, at(0), at(9), OfAccount("acme"), OfPeer(alone), OfPeer(alone)).bytes())

		// The close writes what was used since; what expires while no node runs is in the log, too.
		require.True(t, r.dataplane.move(stays, quota.Download, 1000))
		require.True(t, r.dataplane.move(alone, quota.Download, 3000))
		require.NoError(t, r.Close())
		time.Sleep(24 * time.Hour)
		next := newRig(t, r.store, logTo(t, dir))
		require.NoError(t, next.Start(t.Context()))
		require.Equal(t, map[string]uint64{stay: 1000, acme: 1000, lone: 3000}, next.between(t, at(2), at(3)).bytes())
		require.Empty(t, next.between(t, at(3), at(100)).Usages)
		day := next.between(t, at(0), at(24))
		require.Equal(t, map[string]uint64{stay: 1107, leave: 120, acme: 1227, lone: 3100}, day.bytes())

		bounds, err := usagelog.Steps(at(0), at(4), time.Hour)
		require.NoError(t, err)
		series, err := next.UsageSeries(t.Context(), OfAccount("acme"), bounds)
		require.NoError(t, err)
		require.Equal(t, []quota.Counters{{Download: 200}, {Upload: 27}, {Download: 1000}, {}}, []quota.Counters{
			series.Steps[0].Counters, series.Steps[1].Counters, series.Steps[2].Counters, series.Steps[3].Counters,
		})
		require.Equal(t, usagelog.Span{From: at(1), To: at(2)}, series.Steps[1].Span)
		series, err = next.UsageSeries(t.Context(), OfPeer(newKey(t)), bounds)
		require.NoError(t, err)
		require.Equal(t, UsageStep{Span: usagelog.Span{From: at(1), To: at(2)}}, series.Steps[1], "a peer that there never was")
	})
}

// TestUsageOfRekeyedPeers has a young and an old peer get other keys, over days, and a key that another had.
func TestUsageOfRekeyedPeers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "usage")
		r := startRig(t, logTo(t, dir), unhurried)
		begin := time.Now()
		time.Sleep(time.Second)
		keys := []wgtypes.Key{newKey(t), newKey(t), newKey(t)}
		r.add(t, PeerSpec{PublicKey: keys[0]})
		for i, key := range keys[:2] {
			require.True(t, r.dataplane.move(key, quota.Download, 100<<i))
			_, err := r.RekeyPeer(t.Context(), key, PeerKeys{PublicKey: keys[i+1]})
			require.NoError(t, err)
			if i == 0 {
				time.Sleep(25 * time.Hour)
			}
		}
		require.True(t, r.dataplane.move(keys[2], quota.Download, 400))
		r = r.again(t, logTo(t, dir), unhurried)
		require.True(t, r.dataplane.move(keys[2], quota.Download, 800))
		time.Sleep(25 * time.Hour)
		r.add(t, PeerSpec{PublicKey: keys[0]})
		require.True(t, r.dataplane.move(keys[0], quota.Upload, 5))
		time.Sleep(time.Hour)
		synctest.Wait()

		want := map[string]uint64{
			fmt.Sprint(OfPeer(keys[0]), " 1"): 100, fmt.Sprint(OfPeer(keys[1]), " 1"): 200, fmt.Sprint(OfPeer(keys[2]), " 1"): 1200,
		}
		require.Equal(t, want, r.between(t, begin, time.Now(), OfPeer(keys[2])).bytes(), "all keys that it has had")
		want[fmt.Sprint(OfPeer(keys[0]), " 2")] = 5
		require.Equal(t, want, r.between(t, begin, time.Now()).bytes())
		require.Equal(t, uint64(1500), r.used(t, OfPeer(keys[2])).Counters.Download)
		bounds := []time.Time{begin, begin.Add(25*time.Hour + time.Minute), time.Now()}
		_, err := r.RekeyPeer(t.Context(), keys[2], PeerKeys{PublicKey: newKey(t)})
		require.NoError(t, err)
		keys[2] = r.inv.peerOrder.entries[0].key
		delete(want, fmt.Sprint(OfPeer(keys[0]), " 2"))
		require.Equal(t, want, r.between(t, begin, time.Now(), OfPeer(keys[2])).bytes(), "one under which nothing was used yet")
		series, err := r.UsageSeries(t.Context(), OfPeer(keys[1]), bounds)
		require.NoError(t, err)
		require.Equal(t, []uint64{700, 800}, []uint64{series.Steps[0].Counters.Download, series.Steps[1].Counters.Download})
	})
}

// TestUsageOfAKeyThatComesBack has a peer return to keys that it had, over a restart.
func TestUsageOfAKeyThatComesBack(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "usage")
	r := startRig(t, logTo(t, dir))
	keys := []wgtypes.Key{newKey(t), newKey(t), newKey(t)}
	r.add(t, PeerSpec{PublicKey: keys[0]})
	at := keys[0]
	for i, next := range []wgtypes.Key{keys[1], keys[0], keys[1], keys[2], keys[0]} {
		require.True(t, r.dataplane.move(at, quota.Download, 1<<i))
		_, err := r.RekeyPeer(t.Context(), at, PeerKeys{PublicKey: next})
		require.NoError(t, err)
		at = next
		r = r.again(t, logTo(t, dir))
	}
	require.True(t, r.dataplane.move(at, quota.Download, 1<<5))
	require.Equal(t, uint64(1<<6-1), r.used(t, OfPeer(at)).Counters.Download)
	require.NoError(t, r.Close())
	require.Equal(t, map[usagelog.Subject]uint64{
		loggedAs(OfPeer(keys[0]), 1): 1 + 4 + 32, loggedAs(OfPeer(keys[1]), 1): 2 + 8, loggedAs(OfPeer(keys[2]), 1): 16,
	}, inDirectory(t, dir))
}

// TestUsageWithoutLog says what is missing.
func TestUsageWithoutLog(t *testing.T) {
	r := startRig(t)
	_, err := r.UsageBetween(t.Context(), time.Now().Add(-time.Hour), time.Now())
	require.ErrorIs(t, err, ErrNoUsageLog)
	require.ErrorContains(t, err, "set Config.UsageLog")
	_, err = r.UsageSeries(t.Context(), OfAccount("a"), []time.Time{time.Now(), time.Now().Add(1)})
	require.ErrorIs(t, err, ErrNoUsageLog)

	dir := filepath.Join(t.TempDir(), "usage")
	r = newRig(t, newFaultyStore(), logTo(t, dir))
	_, err = r.UsageBetween(t.Context(), time.Now().Add(-time.Hour), time.Now())
	require.ErrorIs(t, err, ErrNotStarted)
	require.NoError(t, r.Start(t.Context()))
	now := time.Now()
	_, err = r.UsageBetween(t.Context(), now, now)
	require.ErrorIs(t, err, usagelog.ErrInvalid)
	_, err = r.UsageSeries(t.Context(), OfAccount("a"), nil)
	require.ErrorIs(t, err, usagelog.ErrInvalid)
	_, err = usagelog.Open(dir, usagelog.Options{})
	require.ErrorIs(t, err, usagelog.ErrLocked)
	require.NoError(t, r.Close())
	_, err = r.UsageBetween(t.Context(), time.Now().Add(-time.Hour), time.Now())
	require.ErrorIs(t, err, ErrClosed)

	r = newRig(t, newFaultyStore(), logTo(t, dir)) // the lock is free
	require.NoError(t, r.Close())
	r = newRig(t, newFaultyStore(), logTo(t, dir)) // also after a node that was never started
	require.NoError(t, r.Close())
}

// TestStartThatFailsKeepsTheLog has a start fail with peers that expired meanwhile, and another go on with the log.
func TestStartThatFailsKeepsTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "usage")
		r := startRig(t, logTo(t, dir))
		key := r.add(t, PeerSpec{ExpiresAt: time.Now().Add(time.Hour)}).PublicKey
		require.True(t, r.dataplane.move(key, quota.Upload, 8))
		require.NoError(t, r.Close())
		time.Sleep(2 * time.Hour)
		r = newRig(t, r.store, logTo(t, dir))
		r.dataplane.setHook(func(context.Context, string) error { return errInjected })
		require.ErrorIs(t, r.Start(t.Context()), errInjected)
		r.dataplane.setHook(nil)
		require.NoError(t, r.Start(t.Context()))
		_, err := r.Peer(key)
		require.ErrorIs(t, err, ErrNotFound)
		require.NoError(t, r.Close())
		require.Equal(t, map[usagelog.Subject]uint64{loggedAs(OfPeer(key), 1): 8}, inDirectory(t, dir))

		r = newRig(t, r.store, logTo(t, dir))
		r.dataplane.setHook(func(context.Context, string) error { return errInjected })
		require.ErrorIs(t, r.Start(t.Context()), errInjected)
		require.ErrorIs(t, r.Close(), errInjected, "of the dataplane")
		log, err := usagelog.Open(dir, usagelog.Options{})
		require.NoError(t, err, "the log was closed")
		require.NoError(t, log.Close())
	})
}
