package bench

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/quota"
	"github.com/waylume/waylume/wgnode"
)

// Bytes move through each kind of exit, both ways.
func TestExits(t *testing.T) {
	for _, path := range []string{bare, stock, plain, whole, inKernel} {
		t.Run(path, func(t *testing.T) {
			c := startPath(t, newSite(t), path, 3, 1)
			for _, d := range []direction{up, down} {
				transfer := startBulk(t, c, d, 2)
				require.Eventually(t, func() bool { return transfer.bytes.Load() > chunk }, patience, time.Millisecond)
				transfer.stop()
			}
			require.Positive(t, c.exit.usage(t).RSS)
		})
	}
}

// What an exit is told and tells goes through its process.
func TestExitAnswers(t *testing.T) {
	c := startPath(t, newSite(t), inUserspace, 2, 0)
	defer startBulk(t, c, up, 1).stop()
	key := c.peer.PublicKey
	require.Eventually(t, func() bool { return c.exit.counters(t, key).Counters.Upload > 0 }, patience, time.Millisecond)
	require.Len(t, c.exit.stats(t).Peers, 2)

	state := c.peer.PeerState
	state.Budget = quota.Budget{Limited: true, Limit: 1}
	c.exit.apply(t, wgnode.Change{SetPeers: []wgnode.PeerState{state}})
	require.Eventually(t, func() bool { return len(c.exit.events()) > 0 }, patience, time.Millisecond)
	e := c.exit.events()[0]
	require.Equal(t, wgnode.BudgetReached, e.Kind)
	require.Equal(t, key, e.Peer)
	require.False(t, e.Heard.Before(e.At))

	require.NotEmpty(t, c.exit.profile(t, "cpu", 100*time.Millisecond))
	_, err := c.exit.ask(request{Kind: askApply, Change: wgnode.Change{SetPeers: []wgnode.PeerState{{PublicKey: wgtypes.Key{1}}}}})
	require.Error(t, err)
}
