package kernel_test

import (
	"strings"
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

// TestOneKey has the module say that it serves one key: at a start it goes on with the node's own, and a second one later is an error
// that names what serves both, and changes nothing.
func TestOneKey(t *testing.T) {
	t.Run("module", func(t *testing.T) {
		requireModule(t)
		n := newNeighbour(t, kernel.Config{Interface: rigInterface, Driver: kernel.DriverModule}, 10)
		key, former := n.cfg.PrivateKey, wgtypes.Key{}
		var err error
		n.cfg.FormerKey, err = wgtypes.GeneratePrivateKey()
		require.NoError(t, err)
		info, err := n.dp.Start(t.Context(), n.cfg, n.state)
		require.NoError(t, err)
		require.Contains(t, strings.Join(info.Limitations, "\n"), "who has the node's former key cannot connect")
		n.rest(t)
		requireWritesNothing(t, n.dp, n.sync(t))
		err = n.dp.SetKeys(t.Context(), n.cfg.FormerKey, key)
		require.ErrorIs(t, err, wgnode.ErrNotSupported)
		require.ErrorContains(t, err, "DriverTUN")
		now, before, err := n.dp.DeviceKeys(t.Context())
		require.NoError(t, err)
		require.Equal(t, [2]wgtypes.Key{key, former}, [2]wgtypes.Key{now, before})
		require.NoError(t, n.dp.SetKeys(t.Context(), n.cfg.FormerKey, wgtypes.Key{}))
		now, _, err = n.dp.DeviceKeys(t.Context())
		require.NoError(t, err)
		require.Equal(t, n.cfg.FormerKey, now)
		require.NoError(t, n.dp.Close())
	})
}
