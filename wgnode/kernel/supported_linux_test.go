package kernel

import (
	"context"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/waylume/waylume/internal/testutil/netns"
	"github.com/waylume/waylume/wgnode"
)

// Where the tests have a namespace of their own, a dataplane has what it needs.
func TestSupported(t *testing.T) {
	netns.Require(t)
	require.NoError(t, Supported(t.Context()))

	ended, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, Supported(ended), context.Canceled)
}

func TestWhatIsNotSupported(t *testing.T) {
	require.NoError(t, anyDriver(nil, unix.ENOENT))
	require.NoError(t, anyDriver(wgnode.ErrNotSupported, nil))
	require.ErrorIs(t, anyDriver(wgnode.ErrNotSupported, unix.EPERM), wgnode.ErrNotSupported)

	require.NoError(t, explainTables(nil))
	for _, errno := range []unix.Errno{unix.EINVAL, unix.EPROTONOSUPPORT} {
		err := explainTables(errno)
		require.ErrorIs(t, err, wgnode.ErrNotSupported)
		require.ErrorIs(t, err, errno)
		require.ErrorContains(t, err, "modprobe nf_tables")
	}
	err := explainTables(unix.EPERM)
	require.ErrorIs(t, err, os.ErrPermission)
	require.NotErrorIs(t, err, wgnode.ErrNotSupported)
	require.ErrorContains(t, err, "CAP_NET_ADMIN")
	require.NotErrorIs(t, explainTables(unix.ENOBUFS), wgnode.ErrNotSupported)
}
