//go:build unix

package userspace

import (
	"context"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/wgnode"
)

// TestNoSockets has the process run out of files: peers' connections fail, Health says so, and says so no more a while after.
func TestNoSockets(t *testing.T) {
	port := listen(t, func(*net.TCPConn) {})
	r := newRig(t, Config{Dial: onLoopback}, wgnode.State{})
	r.dp.sockets.rest = 2 * time.Second
	p := r.addPeer(nil)
	dial := func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		conn, err := p.DialContextTCPAddrPort(ctx, netip.AddrPortFrom(web4, port))
		if err == nil {
			err = conn.Close()
		}
		return err
	}
	problems := func() []wgnode.HealthProblem {
		stats, err := r.dp.Stats(t.Context(), wgnode.StatsQuery{Health: true})
		require.NoError(t, err)
		return stats.Problems
	}
	require.Eventually(t, func() bool { return dial() == nil }, 30*time.Second, time.Millisecond)
	require.Empty(t, problems())

	restore := useUpFiles(t)
	began := time.Now()
	require.Eventually(t, func() bool { _ = dial(); return len(problems()) > 0 }, 30*time.Second, time.Millisecond)
	failed := time.Now()
	restore()
	list := problems()
	require.Len(t, list, 1)
	require.Equal(t, wgnode.SocketsFail, list[0].Kind)
	require.WithinRange(t, list[0].Since, began, failed)
	require.Contains(t, list[0].What, syscall.EMFILE.Error())
	require.Eventually(t, func() bool { return len(problems()) == 0 }, 30*time.Second, 10*time.Millisecond)
	require.Eventually(t, func() bool { return dial() == nil }, 30*time.Second, time.Millisecond)
}

// useUpFiles lets the process open none more until restore is called.
func useUpFiles(t *testing.T) (restore func()) {
	t.Helper()
	var before syscall.Rlimit
	require.NoError(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &before))
	restore = func() { require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &before)) }
	t.Cleanup(restore)
	lowered := before
	lowered.Cur = 3 // what is open stays open
	require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &lowered))
	return restore
}
