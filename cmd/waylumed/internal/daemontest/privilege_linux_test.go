package daemontest

import (
	"net"
	"net/http"
	"os"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/internal/testutil/netns"
	api "github.com/waylume/waylume/wgnode/httpapi/v1"
)

// none and netAdmin are sets of capabilities, as /proc/PID/status has them: CAP_NET_ADMIN is the 12th bit (capabilities(7)).
const (
	none     = "0000000000000000"
	netAdmin = "0000000000001000"
)

// has demands that a process has some capabilities, may have no others, and gets none by executing a program.
func (d *daemon) has(t *testing.T, caps string) {
	t.Helper()
	for _, set := range []string{"CapPrm", "CapEff", "CapBnd"} {
		require.Equal(t, caps, d.status(t, set), set)
	}
	require.Equal(t, none, d.status(t, "CapInh"))
	require.Equal(t, none, d.status(t, "CapAmb"))
	require.Equal(t, "1", d.status(t, "NoNewPrivs"))
	tasks, err := os.ReadDir("/proc/" + d.pid() + "/task")
	require.NoError(t, err)
	for _, task := range tasks { // each thread has its own
		data, err := os.ReadFile("/proc/" + d.pid() + "/task/" + task.Name() + "/status")
		require.NoError(t, err)
		require.Contains(t, string(data), "CapPrm:\t"+caps)
	}
}

func TestPrivilegesUserspace(t *testing.T) {
	s := newSite(t, nil)
	d := s.start(t)
	d.has(t, none)
	must[api.CreatedPeer](t, s.unix(), http.StatusCreated, http.MethodPost, onSocket+peers, api.PeerSpec{})
	d.has(t, none)
	d.stop(t)
}

// TestPrivilegesKernel has what the dataplane needs be left: an interface that somebody deletes is there again after a sync, with the
// peer.
func TestPrivilegesKernel(t *testing.T) {
	netns.Require(t)
	s := newSite(t, settings{"node.dataplane": "kernel", "node.sync_period": "1s"})
	d := s.start(t)
	d.has(t, netAdmin)
	client := s.unix()
	made := must[api.CreatedPeer](t, client, http.StatusCreated, http.MethodPost, onSocket+peers, api.PeerSpec{})
	before, err := net.InterfaceByName("waylume0")
	require.NoError(t, err)
	netns.DeleteLink(t, nil, "waylume0")
	d.until(t, "the interface is there again", func() bool {
		now, err := net.InterfaceByName("waylume0")
		return err == nil && now.Index != before.Index && now.Flags&net.FlagUp != 0
	})
	d.waitReady(t)
	require.Equal(t, []api.Peer{made.Peer}, allPeers(t, client, onSocket))
	d.has(t, netAdmin)
	d.stop(t)
	_, err = net.InterfaceByName("waylume0")
	require.Error(t, err, "an end in order leaves none")
}

// pid is the process's.
func (d *daemon) pid() string { return strconv.Itoa(d.cmd.Process.Pid) }
