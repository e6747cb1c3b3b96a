package wgdev

import (
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/wgnode/kernel/internal/link"
)

// A process ends and the next one takes the device over: peers keep their sessions, and nothing is written.
func TestAdoption(t *testing.T) {
	c := dial(t)
	requireModule(t, c)
	cfg, psk := config(t), key(t)
	first := NewModule(c)
	l, adopted, err := first.Open(t.Context(), cfg)
	require.NoError(t, err)
	require.False(t, adopted)
	t.Cleanup(func() { require.NoError(t, c.Delete(l.Index)) })
	_, err = first.Up(t.Context())
	require.NoError(t, err)
	gateway := netip.MustParseAddr("10.8.0.1")
	require.NoError(t, c.EnsureAddresses(l.Index, prefixes("10.8.0.1/24")))
	peer := newClient(t, cfg.PrivateKey.PublicKey(), psk, netip.MustParseAddr("10.8.0.2"), gateway)
	told := peer.peer(psk)
	told.Keepalive = 25 * time.Second
	require.NoError(t, first.Set(t.Context(), nil, []Peer{told}))
	require.NoError(t, peer.talk(gateway))
	before := get(t, first)[peer.key.PublicKey()]
	require.NoError(t, first.Close(true))

	second := NewModule(c)
	writes := c.Writes()
	again, adopted, err := second.Open(t.Context(), cfg)
	require.NoError(t, err)
	require.True(t, adopted)
	require.True(t, again.Up)
	require.Equal(t, l.Index, again.Index)
	port, err := second.Up(t.Context())
	require.NoError(t, err)
	require.Equal(t, uint16(testPort), port)
	require.Equal(t, writes, c.Writes())
	require.Zero(t, second.Writes())
	same(t, second, told)
	after := get(t, second)[peer.key.PublicKey()]
	require.Equal(t, before.LastHandshake, after.LastHandshake)
	require.Equal(t, before.Endpoint, after.Endpoint)
	require.GreaterOrEqual(t, after.ReceivedBytes, before.ReceivedBytes)
	require.NoError(t, peer.talk(gateway))
	require.Equal(t, before.LastHandshake, get(t, second)[peer.key.PublicKey()].LastHandshake, "the same session")
	require.NoError(t, second.Close(true))

	// What differs is mended while the device runs; port 0 keeps the one there is.
	for _, change := range []func(*Config){
		func(c *Config) { c.MTU = 1380 },
		func(c *Config) { c.FirewallMark = 9 },
		func(c *Config) { c.ListenPort = 0 },
	} {
		change(&cfg)
		d := NewModule(c)
		l, adopted, err := d.Open(t.Context(), cfg)
		require.NoError(t, err)
		require.True(t, adopted)
		require.Equal(t, cfg.MTU, l.MTU)
		require.LessOrEqual(t, d.Writes(), uint64(1))
		have, err := d.client.Device(testName)
		require.NoError(t, err)
		require.Equal(t, int(cfg.FirewallMark), have.FirewallMark)
		require.Equal(t, testPort, have.ListenPort)
		require.NoError(t, peer.talk(gateway))
		require.Equal(t, before.LastHandshake, get(t, d)[peer.key.PublicKey()].LastHandshake)
		require.NoError(t, d.Close(true))
	}
	cfg.ListenPort, cfg.PrivateKey = testPort+1, key(t)
	d := NewModule(c)
	_, _, err = d.Open(t.Context(), cfg)
	require.NoError(t, err)
	have, err := d.client.Device(testName)
	require.NoError(t, err)
	require.Equal(t, testPort+1, have.ListenPort)
	require.Equal(t, cfg.PrivateKey, have.PrivateKey)
	require.Empty(t, have.Peers, "who knew the former key has no session")
	require.True(t, portFree(testPort))
	require.NoError(t, d.Set(t.Context(), nil, []Peer{told}))

	// An Open that fails over it leaves it as it is, running.
	bad := cfg
	bad.MTU = -1
	_, _, err = NewModule(c).Open(t.Context(), bad)
	require.Error(t, err)
	require.Len(t, get(t, d), 1)
	require.NoError(t, d.Close(false))
	_, ok, err := c.LinkByName(testName)
	require.NoError(t, err)
	require.False(t, ok)
}

// The interface goes behind the device's back.
func TestModuleDeleted(t *testing.T) {
	c := dial(t)
	requireModule(t, c)
	d := NewModule(c)
	l := start(t, d, config(t))
	require.NoError(t, c.Delete(l.Index))
	_, err := d.Status(t.Context())
	require.ErrorIs(t, err, link.ErrNoLink)
	require.ErrorContains(t, err, "deleted")
	require.ErrorIs(t, d.Set(t.Context(), nil, []Peer{{PublicKey: key(t).PublicKey()}}), link.ErrNoLink)
	_, err = d.Up(t.Context())
	require.ErrorIs(t, err, link.ErrNoLink)
}

// Where there is no module, its absence is told and nothing is left behind.
func TestNoModule(t *testing.T) {
	c := dial(t)
	if SupportedModule(c) == nil {
		t.Skip("this kernel has the WireGuard module")
	}
	_, _, err := NewModule(c).Open(t.Context(), config(t))
	require.ErrorContains(t, err, "modprobe wireguard")
	require.ErrorContains(t, err, "CONFIG_WIREGUARD")
}

func TestModuleStatus(t *testing.T) {
	k := key(t)
	got := moduleStatus(wgtypes.Peer{PublicKey: k, LastHandshakeTime: time.Unix(0, 0)})
	require.True(t, got.LastHandshake.IsZero())
	require.False(t, got.Endpoint.IsValid())
	got = moduleStatus(wgtypes.Peer{PublicKey: k})
	require.True(t, got.LastHandshake.IsZero())
	p := Peer{PublicKey: k, AllowedIPs: prefixes("10.8.0.2/32", "fd08::/64", "::ffff:10.8.0.0/120", "0.0.0.0/0", "::/0")}
	told := moduleConfig(p)
	require.Equal(t, p.AllowedIPs, moduleStatus(wgtypes.Peer{AllowedIPs: told.AllowedIPs}).AllowedIPs)
}
