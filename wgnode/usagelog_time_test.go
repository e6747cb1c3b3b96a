package wgnode

import (
	"context"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/quota"
	"github.com/waylume/waylume/usagelog"
)

func TestUsageLogPeriods(t *testing.T) {
	for period, right := range map[time.Duration]bool{
		time.Minute: true, 90 * time.Second: true, 15 * time.Minute: true, time.Hour: true, 8 * time.Hour: true, 24 * time.Hour: true,
		time.Second: false, 7 * time.Minute: false, 90 * time.Minute: false, 5 * time.Hour: false,
		48 * time.Hour: false, -time.Hour: false,
	} {
		_, err := New(Config{Dataplane: &fakeDataplane{}, UsageLogPeriod: period})
		if right {
			require.NoError(t, err, period)
			continue
		}
		require.ErrorContains(t, err, "UsageLogPeriod: is "+period.String()+": it must be 1m0s to 24h0m0s and divide an hour or a day")
	}
}

// recordingLog notes when readings of all were made.
type recordingLog struct {
	UsageLog
	times []time.Time
}

func (l *recordingLog) Append(ctx context.Context, at time.Time, readings []usagelog.Reading) error {
	l.times = append(l.times, at.UTC())
	return l.UsageLog.Append(ctx, at, readings)
}

// TestReadingsAreOfTheTimeAtWhichTheyWereDue has a node start at an odd time, be a little late, and be late.
func TestReadingsAreOfTheTimeAtWhichTheyWereDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		midnight := time.Now().UTC()
		time.Sleep(17 * time.Minute)
		log := &recordingLog{}
		r := startRig(t, logTo(t, t.TempDir()), func(c *Config) {
			log.UsageLog = c.UsageLog
			c.UsageLog, c.UsageLogPeriod, c.CheckpointPeriod = log, 20*time.Minute, 7*time.Second
		})
		var late atomic.Int64
		late.Store(int64(9 * time.Second))
		r.dataplane.setHook(func(_ context.Context, call string) error {
			if call == "Sync" && time.Since(midnight) > 39*time.Minute {
				time.Sleep(time.Duration(late.Load()))
			}
			return nil
		})
		time.Sleep(44 * time.Minute) // until 01:01
		late.Store(int64(20 * time.Second))
		time.Sleep(20 * time.Minute)
		r.dataplane.setHook(nil)
		require.NoError(t, r.Close())
		closed := time.Now().UTC()
		var since []string
		for _, at := range log.times {
			since = append(since, at.Sub(midnight).String())
		}
		require.Equal(t, []string{"17m0s", "20m0s", "40m0s", "1h0m0s", "1h20m20s", closed.Sub(midnight).String()}, since)
	})
}

// TestClockThatIsSetBack does not keep the log waiting for a time that was near before.
func TestClockThatIsSetBack(t *testing.T) {
	n, err := New(Config{Dataplane: &fakeDataplane{}, UsageLog: &recordingLog{}})
	require.NoError(t, err)
	now := time.Date(2026, time.November, 21, 12, 7, 0, 0, time.UTC)
	due := &schedule{usage: now.AddDate(0, 0, 1)}
	require.False(t, n.usageDue(due, now))
	require.Equal(t, now.Add(8*time.Minute), due.usage)
	require.False(t, n.usageDue(due, now.Add(7*time.Minute)))
	require.True(t, n.usageDue(due, now.Add(8*time.Minute)))
	require.True(t, n.usageDue(due, now.AddDate(1, 0, 0)), "it was set forward")
}

// TestWhatIsNotStoredIsNotLogged has the store fail over several readings, which are then made up for.
func TestWhatIsNotStoredIsNotLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "usage")
		r := startRig(t, logTo(t, dir))
		key := r.add(t, PeerSpec{}).PublicKey
		require.True(t, r.dataplane.move(key, quota.Upload, 8))
		r.store.set(func([]Mutation) error { return errInjected }, nil)
		time.Sleep(time.Hour)
		synctest.Wait()
		require.Empty(t, inDirectory(t, dir))
		r.store.set(nil, nil)
		time.Sleep(5 * DefaultCheckpointPeriod)
		synctest.Wait()
		require.Equal(t, map[usagelog.Subject]uint64{loggedAs(OfPeer(key), 1): 8}, inDirectory(t, dir))
	})
}

// TestRestoredBackup has a node go on with an older state than the log knows: what was counted since the backup does not
// count again, and no number is given twice.
func TestRestoredBackup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "usage")
		r := startRig(t, logTo(t, dir))
		old := r.add(t, PeerSpec{}).PublicKey
		require.True(t, r.dataplane.move(old, quota.Upload, 100))
		time.Sleep(5 * time.Second)
		synctest.Wait()
		backup := newFaultyStore()
		var batch []Mutation
		for _, record := range r.store.snapshot() {
			batch = append(batch, put(record))
		}
		require.NoError(t, backup.Commit(t.Context(), batch))
		since := r.add(t, PeerSpec{}).PublicKey
		require.True(t, r.dataplane.move(old, quota.Upload, 50))
		require.True(t, r.dataplane.move(since, quota.Upload, 7))
		require.NoError(t, r.Close())

		time.Sleep(25 * time.Hour)
		r = newRig(t, backup, logTo(t, dir))
		require.NoError(t, r.Start(t.Context()))
		fresh := r.add(t, PeerSpec{PublicKey: since})
		require.Equal(t, uint64(3), fresh.Sequence)
		require.True(t, r.dataplane.move(old, quota.Upload, 60))
		require.True(t, r.dataplane.move(since, quota.Upload, 4))
		require.NoError(t, r.Close())
		require.Equal(t, map[usagelog.Subject]uint64{
			loggedAs(OfPeer(old), 1): 160, loggedAs(OfPeer(since), 2): 7, loggedAs(OfPeer(since), 3): 4,
		}, inDirectory(t, dir), fmt.Sprint("the counters of ", old, " fell back to 100, and are 160"))
	})
}
