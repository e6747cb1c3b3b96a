package up

import (
	"bytes"
	"context"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/cmd/waylumed/internal/control"
	"github.com/waylume/waylume/cmd/waylumed/internal/state"
	"github.com/waylume/waylume/cmd/waylumed/internal/status"
	"github.com/waylume/waylume/wgnode/userspace"
)

// TestStatusOfRunningNode has a node's host refuse sockets, which is shown, and told who asks.
func TestStatusOfRunningNode(t *testing.T) {
	dir := t.TempDir()
	shown, stop := runUp(t, settings(dir), func(context.Context, userspace.Flow) (net.Conn, error) {
		return nil, os.NewSyscallError("socket", syscall.EMFILE)
	})
	ask := func() status.Report {
		var answer bytes.Buffer
		require.NoError(t, control.Report(t.Context(), state.Socket(dir), &answer))
		r, err := status.Read(answer.Bytes())
		require.NoError(t, err)
		return r
	}
	r := ask()
	require.Equal(t, "running", r.State)
	require.Empty(t, r.Problems)
	require.Len(t, r.Peers, 1)
	require.Equal(t, "first", r.Peers[0].Name)

	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err := connect(t, shown.String()).DialContextTCPAddrPort(ctx, netip.MustParseAddrPort("192.0.2.80:80"))
	require.Error(t, err)
	shown.waitFor(t, "✗ forwarding: the system refused ")
	r = ask()
	require.Len(t, r.Problems, 1)
	require.Equal(t, "sockets-fail", r.Problems[0].Kind)
	require.Contains(t, r.Problems[0].What, syscall.EMFILE.Error())
	stop()
}
