package wgdev

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/kernel/internal/link"
)

// Another key ends what was: a session that stands moves nothing, though WireGuard itself would take what comes in it for three
// minutes more.
func TestSetKeys(t *testing.T) {
	eachDriver(t, func(t *testing.T, c *link.Conn, open func() Device) {
		cfg, psk, next := config(t), key(t), key(t)
		d := open()
		require.ErrorIs(t, d.SetKeys(t.Context(), next, wgtypes.Key{}, nil), errClosed)
		l := start(t, d, cfg)
		gateway := netip.MustParseAddr("10.8.0.1")
		require.NoError(t, c.EnsureAddresses(l.Index, prefixes("10.8.0.1/24")))
		peer := newClient(t, cfg.PrivateKey.PublicKey(), psk, netip.MustParseAddr("10.8.0.2"), gateway)
		stray := Peer{PublicKey: key(t).PublicKey(), AllowedIPs: prefixes("10.8.0.9/32")}
		require.NoError(t, d.Set(t.Context(), nil, []Peer{peer.peer(psk), stray}))
		require.NoError(t, peer.talk(gateway))

		other := Peer{PublicKey: key(t).PublicKey(), PresharedKey: key(t), AllowedIPs: prefixes("10.8.0.3/32"), Keepalive: 25 * time.Second}
		require.NoError(t, d.SetKeys(t.Context(), next, wgtypes.Key{}, []Peer{peer.peer(psk), other}))
		same(t, d, peer.peer(psk), other)
		has, err := d.Status(t.Context())
		require.NoError(t, err)
		require.Equal(t, next, has.PrivateKey)
		peer.send(gateway, 20)
		idle := get(t, d)[peer.key.PublicKey()]
		require.Zero(t, idle.ReceivedBytes)
		require.True(t, idle.LastHandshake.IsZero())

		peer.meet(next.PublicKey(), psk, gateway)
		require.NoError(t, peer.talk(gateway))
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		require.ErrorIs(t, d.SetKeys(gone, cfg.PrivateKey, wgtypes.Key{}, nil), context.Canceled)
		has, err = d.Status(t.Context())
		require.NoError(t, err)
		require.Equal(t, next, has.PrivateKey)
	})
}

// A former key is served beside the next one, in the sessions that stand and in new ones, and over again; the module says that it
// cannot, and has nothing disturbed.
func TestFormerKey(t *testing.T) {
	eachDriver(t, func(t *testing.T, c *link.Conn, open func() Device) {
		cfg, psk := config(t), key(t)
		d := open()
		l := start(t, d, cfg)
		gateway := netip.MustParseAddr("10.8.0.1")
		require.NoError(t, c.EnsureAddresses(l.Index, prefixes("10.8.0.1/24")))
		peer := newClient(t, cfg.PrivateKey.PublicKey(), psk, netip.MustParseAddr("10.8.0.2"), gateway)
		told := peer.peer(psk)
		told.Keepalive = 25 * time.Second
		require.NoError(t, d.Set(t.Context(), nil, []Peer{told}))
		require.NoError(t, peer.talk(gateway))
		before, former := get(t, d)[told.PublicKey], cfg.PrivateKey
		for range 3 {
			next := key(t)
			err := d.SetKeys(t.Context(), next, former, []Peer{told})
			if _, ok := d.(*Module); ok {
				require.ErrorIs(t, err, wgnode.ErrNotSupported)
				require.NoError(t, peer.talk(gateway))
				require.Equal(t, before.LastHandshake, get(t, d)[told.PublicKey].LastHandshake)
				return
			}
			require.NoError(t, err)
			require.NoError(t, peer.talk(gateway))
			now := get(t, d)[told.PublicKey]
			require.True(t, now.FormerKey)
			require.Equal(t, before.LastHandshake, now.LastHandshake)
			require.Greater(t, now.ReceivedBytes, before.ReceivedBytes)
			same(t, d, told)
			has, err := d.Status(t.Context())
			require.NoError(t, err)
			require.Equal(t, [2]wgtypes.Key{next, former}, [2]wgtypes.Key{has.PrivateKey, has.FormerKey})

			peer.meet(next.PublicKey(), psk, gateway)
			require.NoError(t, peer.talk(gateway))
			before = get(t, d)[told.PublicKey]
			require.False(t, before.FormerKey)
			require.NoError(t, d.SetKeys(t.Context(), next, wgtypes.Key{}, []Peer{told}))
			require.NoError(t, peer.talk(gateway))
			after := get(t, d)[told.PublicKey]
			require.Equal(t, before.LastHandshake, after.LastHandshake)
			require.Greater(t, after.SentBytes, before.SentBytes)
			same(t, d, told)
			before, former = after, next
		}
	})
}
