package wgnode

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/quota"
	"github.com/waylume/waylume/usagelog"
)

// hookedLog is a usage log whose writes may fail or hang.
type hookedLog struct {
	*usagelog.Log
	mu   sync.Mutex
	hook func() error
}

func (l *hookedLog) set(hook func() error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hook = hook
}

func (l *hookedLog) strike() error {
	l.mu.Lock()
	hook := l.hook
	l.mu.Unlock()
	if hook == nil {
		return nil
	}
	return hook()
}

func (l *hookedLog) Append(ctx context.Context, at time.Time, readings []usagelog.Reading) error {
	if err := l.strike(); err != nil {
		return err
	}
	return l.Log.Append(ctx, at, readings)
}

func (l *hookedLog) AppendSome(ctx context.Context, at time.Time, readings []usagelog.Reading) error {
	if err := l.strike(); err != nil {
		return err
	}
	return l.Log.AppendSome(ctx, at, readings)
}

// hooked has a node keep a usage log whose writes may fail or hang.
func hooked(t testing.TB, dir string) (*hookedLog, func(*Config)) {
	t.Helper()
	var c Config
	logTo(t, dir)(&c)
	log := &hookedLog{Log: c.UsageLog.(*usagelog.Log)}
	return log, func(c *Config) { c.UsageLog = log }
}

// TestFailingUsageLog has the log fail for hours: the node goes on, says so once, and what was used meanwhile counts when the
// log works again, also that of peers that were removed.
func TestFailingUsageLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "usage")
		log, logged := hooked(t, dir)
		r := startRig(t, logged)
		r.account(t, AccountSpec{ID: "acme"})
		stays, leaves := r.add(t, PeerSpec{Account: "acme"}), r.add(t, PeerSpec{Account: "acme"})
		r.drain()
		log.set(func() error { return errInjected })
		require.True(t, r.dataplane.move(leaves.PublicKey, quota.Download, 10))
		require.NoError(t, r.RemovePeer(t.Context(), leaves.PublicKey))
		require.True(t, r.dataplane.move(stays.PublicKey, quota.Download, 4))
		young := r.add(t, PeerSpec{})
		require.True(t, r.dataplane.move(young.PublicKey, quota.Download, 30))
		time.Sleep(3 * time.Hour)
		synctest.Wait()
		require.Equal(t, []EventKind{UsageLogFailed, ProblemBegan, PeerRemoved, PeerAdded}, r.kinds())
		status, err := r.Status(t.Context())
		require.NoError(t, err)
		require.Len(t, status.Problems, 1)
		require.Equal(t, UsageLogFailing, status.Problems[0].Kind)
		require.Contains(t, status.Problems[0].What, "injected fault")
		require.Empty(t, inDirectory(t, dir))

		log.set(nil)
		time.Sleep(logRetryDelay + 2*DefaultCheckpointPeriod)
		synctest.Wait()
		want := map[usagelog.Subject]uint64{
			loggedAs(OfAccount("acme"), 1): 14, loggedAs(OfPeer(stays.PublicKey), stays.Sequence): 4,
			loggedAs(OfPeer(leaves.PublicKey), leaves.Sequence): 10, loggedAs(OfPeer(young.PublicKey), young.Sequence): 30,
		}
		require.Equal(t, want, inDirectory(t, dir))

		log.set(func() error { return errInjected })
		require.NoError(t, r.RemovePeers(t.Context(), []wgtypes.Key{stays.PublicKey, young.PublicKey}))
		require.Equal(t, []EventKind{ProblemOver, UsageLogFailed, ProblemBegan, PeerRemoved, PeerRemoved}, r.kinds(), "the next row of failures")
		err = r.Close()
		require.ErrorIs(t, err, errInjected)
		require.ErrorContains(t, err, "write usage log")
		require.Equal(t, want, inDirectory(t, dir))
	})
}

// TestSlowUsageLog has a reading of all wait while a peer comes that stays, and one that goes: the one that stays is newer than
// what the log then knows of, and counts whole, also when no more than the next day is left.
func TestSlowUsageLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "usage")
		log, logged := hooked(t, dir)
		r := startRig(t, logged, unhurried, func(c *Config) { c.UsageLogPeriod = MaxUsageLogPeriod })
		answer := make(chan struct{})
		log.set(func() error {
			<-answer
			return nil
		})
		time.Sleep(2*MaxUsageLogPeriod + time.Second) // one writes, one waits
		synctest.Wait()
		stays, leaves := r.add(t, PeerSpec{}), r.add(t, PeerSpec{})
		require.True(t, r.dataplane.move(stays.PublicKey, quota.Upload, 9))
		require.True(t, r.dataplane.move(leaves.PublicKey, quota.Upload, 5))
		require.NoError(t, r.RemovePeer(t.Context(), leaves.PublicKey))
		close(answer)
		time.Sleep(MaxUsageLogPeriod)
		synctest.Wait()
		require.Equal(t, map[usagelog.Subject]uint64{
			loggedAs(OfPeer(stays.PublicKey), stays.Sequence): 9, loggedAs(OfPeer(leaves.PublicKey), leaves.Sequence): 5,
		}, inDirectory(t, dir))
		days, err := filepath.Glob(filepath.Join(dir, "*.usage"))
		require.NoError(t, err)
		for _, day := range days[:len(days)-1] {
			require.NoError(t, os.Remove(day))
		}
		require.Equal(t, uint64(9), inDirectory(t, dir)[loggedAs(OfPeer(stays.PublicKey), stays.Sequence)])
	})
}

// TestHangingUsageLog has a write of the log never return: changes go on, each after a second at most and those after it at
// once; readings wait, and Close does not wait for ever.
func TestHangingUsageLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "usage")
		log, logged := hooked(t, dir)
		r := startRig(t, logged)
		peers := []AddedPeer{r.add(t, PeerSpec{}), r.add(t, PeerSpec{}), r.add(t, PeerSpec{})}
		for _, p := range peers {
			require.True(t, r.dataplane.move(p.PublicKey, quota.Upload, 9))
		}
		r.drain()
		answer := make(chan struct{})
		log.set(func() error {
			<-answer
			return nil
		})
		for i, want := range []time.Duration{logPatience, 0} {
			began := time.Now()
			require.NoError(t, r.RemovePeer(t.Context(), peers[i].PublicKey))
			require.Equal(t, want, time.Since(began))
		}
		began := time.Now()
		r.add(t, PeerSpec{})
		require.Zero(t, time.Since(began))
		time.Sleep(time.Hour)
		synctest.Wait()
		require.Equal(t, []EventKind{PeerRemoved, PeerRemoved, PeerAdded, UsageLogFailed, ProblemBegan}, r.kinds())

		began = time.Now()
		err := r.Close()
		require.ErrorContains(t, err, "the usage log has not answered")
		require.Equal(t, closeTimeout, time.Since(began))
		close(answer)
		synctest.Wait()
		require.Len(t, inDirectory(t, dir), 3, "it was written in the end")
		again, err := usagelog.Open(dir, usagelog.Options{})
		require.NoError(t, err, "and closed")
		require.NoError(t, again.Close())
	})
}
