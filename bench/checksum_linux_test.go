package bench

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The kernel of a client verifies each packet that comes out of the exit, as its TUN offloads nothing: there is no wrong checksum in
// a download, in the acknowledgements of an upload, or in datagrams.
func TestChecksums(t *testing.T) {
	s := newSite(t)
	p := newPeer(t, 0)
	cfg := exitConfig{Dataplane: inUserspace}
	cfg.State.Peers = idlePeers(1, 1)
	cfg.State.Peers[0] = p.PeerState
	c := s.connectAs(t, s.startExit(t, cfg), p, true)
	c.exit.server.serveDatagrams(t)

	const enough = 16 << 20 // bytes
	for _, d := range []direction{up, down} {
		transfer := startBulk(t, c, d, 4)
		require.Eventually(t, func() bool { return transfer.bytes.Load() > enough }, patience, time.Millisecond)
		transfer.stop()
	}
	const rate, odd = 1000, 1001
	_, arrived := offer(t, c, down, odd, rate, time.Second)
	require.Positive(t, arrived)

	counts := snmp(t, c)
	require.Greater(t, counts["Tcp InSegs"], int64(enough/tunnelMTU), "segments came as they were sent")
	require.GreaterOrEqual(t, counts["Udp InDatagrams"], int64(arrived))
	for _, name := range []string{"Tcp InCsumErrors", "Udp InCsumErrors", "Ip InHdrErrors", "Tcp InErrs", "Udp InErrors"} {
		require.Contains(t, counts, name)
		require.Zero(t, counts[name], name)
	}
}

// snmp are the counters of a client's kernel, "Tcp InSegs" and the like.
func snmp(tb testing.TB, c *client) map[string]int64 {
	tb.Helper()
	counts := make(map[string]int64)
	c.Do(tb, func() error {
		text, err := os.ReadFile("/proc/thread-self/net/snmp")
		if err != nil {
			return err
		}
		var names []string
		for line := range strings.Lines(string(text)) {
			fields := strings.Fields(line)
			if names == nil {
				names = fields
				continue
			}
			for i := 1; i < len(fields); i++ {
				var n int64
				if _, err := fmt.Sscan(fields[i], &n); err != nil {
					return err
				}
				counts[strings.TrimSuffix(names[0], ":")+" "+names[i]] = n
			}
			names = nil
		}
		return nil
	})
	return counts
}
