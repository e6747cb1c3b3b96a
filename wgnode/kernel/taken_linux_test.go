//go:build linux

package kernel_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/quota"
	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/kernel"
)

// TestTaken has somebody set back, or take away, what the kernel has counted, while a node runs and after it was left alone: nothing
// that the node has read is forgotten or counted twice, and a cap ends at its last byte.
func TestTaken(t *testing.T) { eachDriver(t, testTaken) }

func testTaken(t *testing.T, driver kernel.Driver) {
	for _, disturb := range []string{
		"delete table " + inetTable, "reset counters table " + inetTable, "reset quotas table " + inetTable, "flush ruleset",
	} {
		t.Run(disturb, func(t *testing.T) {
			r := newRig(t, driver)
			t.Cleanup(r.closeIfFailed)
			s := &survival{r: r, server: r.serve(t, server4, server6)}
			order := nodeOrder{Config: r.cfg, Port: freePort(t), Store: filepath.Join(t.TempDir(), "node.db"), Period: time.Second}
			node, dp, err := order.start(t.Context())
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, node.Close()) })
			s.add(t, node, &s.limited, wgnode.PeerSpec{})
			s.add(t, node, &s.capped, wgnode.PeerSpec{DataCap: quota.Cap{Bytes: spent, Thresholds: []int{}}})
			s.connect(t)
			usage := func() wgnode.Usage {
				u, err := node.Usage(t.Context(), wgnode.OfPeer(s.capped.peer.PublicKey))
				require.NoError(t, err)
				return u
			}
			const payload = 1200
			send := func(size int) {
				received := s.server.received.Load() + uint64(size)
				s.capped.phone.send(t, size)
				require.True(t, (&watched{}).comes(func() bool { return s.server.received.Load() == received }), "%d bytes do not pass", size)
			}
			for range 10 {
				send(payload)
			}
			read := func() { time.Sleep(order.Period + order.Period/2) } // what passes between two readings is forgotten
			read()
			before := usage()
			run(t, "nft "+disturb)
			require.NoError(t, dp.LookAtQuotas(t.Context())) // as it does from time to time
			_, err = node.Sync(t.Context())
			require.NoError(t, err)
			read()
			require.Equal(t, before.Used, usage().Used)
			left := int(spent - before.Used)
			for ; left > wgnode.DefaultMTU; left -= payload + headers {
				send(payload)
			}
			send(left - headers)
			require.True(t, (&watched{}).comes(func() bool { return usage().Depleted }), "the cap is used up: %+v", usage())
			require.EqualValues(t, spent, usage().Used)
			require.False(t, s.capped.phone.reaches(server4))
			require.EqualValues(t, spent, usage().Used)
			s.close()
			require.NoError(t, node.Close())
			require.NoError(t, r.Close())
		})
	}
}
