package kernel_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/kernel"
)

// TestTwoKeysAreMended has the device lose its keys, and its interface, while two keys of the node's are served: both are so again.
func TestTwoKeysAreMended(t *testing.T) {
	r := newRig(t, kernel.DriverTUN)
	t.Cleanup(func() { require.NoError(t, r.Close()) })
	r.serve(t, server4, server6)
	n := newNeighbour(t, r.cfg, 10)
	n.start(t)
	former := n.cfg.PrivateKey
	next, err := wgtypes.GeneratePrivateKey()
	require.NoError(t, err)
	foreign, err := wgtypes.GeneratePrivateKey()
	require.NoError(t, err)
	n.rest(t)
	require.NoError(t, n.dp.SetKeys(t.Context(), next, former))
	requireWritesNothing(t, n.dp, n.sync(t))
	both := func() {
		t.Helper()
		now, before, err := n.dp.DeviceKeys(t.Context())
		require.NoError(t, err)
		require.Equal(t, [2]wgtypes.Key{next, former}, [2]wgtypes.Key{now, before})
		for _, key := range []wgtypes.Key{former, next} {
			n.client.ServerKey = key.PublicKey()
			p := newPhone(t, r, n.client)
			n.requireWorking(t, p)
			p.close()
			time.Sleep(20 * time.Millisecond) // a handshake's timestamp is that coarse
		}
	}
	both()
	require.NoError(t, n.dp.DisturbKey(t.Context(), foreign))
	repairs, err := n.dp.Sync(t.Context(), n.state)
	require.NoError(t, err)
	require.Equal(t, []wgnode.Repair{{What: "put the node's private key back into the device"}}, repairs)
	both()
	output(t, "ip", "link", "delete", rigInterface)
	require.Contains(t, n.mend(t), "the interface was gone")
	both()
	require.NoError(t, n.dp.SetKeys(t.Context(), next, wgtypes.Key{}))
	now, before, err := n.dp.DeviceKeys(t.Context())
	require.NoError(t, err)
	require.Equal(t, [2]wgtypes.Key{next, {}}, [2]wgtypes.Key{now, before})
	require.NoError(t, n.dp.Close())
}
