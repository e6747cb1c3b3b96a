package userspace

import (
	"bytes"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/wgnode"
)

func TestNewNamesEveryProblem(t *testing.T) {
	_, err := New(Config{
		HostAddressInterval: time.Millisecond,
		Limits:              Limits{TCPFlows: -1, UDPFlows: -1, TCPMemory: 5, DialTimeout: -1, NewFlowsBurst: -3},
	})
	for _, field := range []string{"HostAddressInterval", "TCPFlows", "UDPFlows", "TCPMemory", "DialTimeout", "NewFlowsBurst"} {
		require.ErrorContains(t, err, field)
	}
	dp, err := New(Config{})
	require.NoError(t, err)
	require.Equal(t, DefaultLimits(), dp.cfg.Limits)
	require.NoError(t, dp.Close())
}

func TestStartFailsWithoutHostAddresses(t *testing.T) {
	broken := errors.New("no interfaces today")
	dp, err := New(Config{HostAddresses: func() ([]netip.Addr, error) { return nil, broken }})
	require.NoError(t, err)
	r := &rig{t: t}
	_, err = dp.Start(t.Context(), r.config(), wgnode.State{})
	require.ErrorIs(t, err, broken, "what is not known to be closed must not be open")
	_, err = dp.Start(t.Context(), r.config(), wgnode.State{})
	require.ErrorIs(t, err, wgnode.ErrClosed)
}

func TestHostAddressesAreFollowed(t *testing.T) {
	var addrs atomic.Pointer[[]netip.Addr]
	addrs.Store(&[]netip.Addr{})
	r := newRig(t, Config{
		Dial: onLoopback, HostAddresses: func() ([]netip.Addr, error) { return *addrs.Load(), nil }, HostAddressInterval: time.Second,
	}, wgnode.State{})
	p, port := r.addPeer(nil), echoUDP(t)
	c, err := p.DialUDPAddrPort(netip.AddrPort{}, netip.AddrPortFrom(web4, port))
	require.NoError(t, err)
	defer c.Close()
	require.Equal(t, "ping", string(exchange(t, c, []byte("ping"))))
	addrs.Store(&[]netip.Addr{web4}) // the host has got the address
	require.Eventually(t, func() bool {
		_, err := c.Write([]byte("ping"))
		require.NoError(t, err)
		stats, err := r.dp.Stats(t.Context(), wgnode.StatsQuery{})
		return err == nil && stats.Dropped["host"] > 0
	}, 20*time.Second, 50*time.Millisecond)
}

func TestIdleConnectionsEnd(t *testing.T) {
	r := newRig(t, Config{Dial: onLoopback}, wgnode.State{})
	p := r.addPeer(nil)
	ended := make(chan struct{})
	port := listen(t, func(c *net.TCPConn) {
		_, _ = c.Write([]byte("x"))
		_, _ = c.Read(make([]byte, 1))
		close(ended)
	})
	c, err := p.DialContextTCPAddrPort(t.Context(), netip.AddrPortFrom(web4, port))
	require.NoError(t, err)
	defer c.Close()
	_, err = c.Read(make([]byte, 1))
	require.NoError(t, err)
	h, ok := r.dp.holdings.Lookup(p.state.Addrs[0])
	require.True(t, ok)
	h.sweep(time.Now().Add(time.Hour))
	select {
	case <-ended:
		t.Fatal("ended before its time")
	case <-time.After(50 * time.Millisecond):
	}
	h.sweep(time.Now().Add(3 * time.Hour))
	<-ended
	_, err = c.Read(make([]byte, 1))
	require.ErrorContains(t, err, "reset")
}

func TestDeviceTextRoundTrip(t *testing.T) {
	var w strings.Builder
	key := wgtypes.Key{1, 2, 3}
	writePeer(&w, wgnode.PeerState{
		PublicKey: key, Addrs: []netip.Addr{netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("fd77::2")}, Keepalive: 25 * time.Second,
	})
	require.Equal(t, "public_key="+hexKey(key)+"\npreshared_key="+strings.Repeat("0", 64)+"\npersistent_keepalive_interval=25\n"+
		"replace_allowed_ips=true\nallowed_ip=10.0.0.2/32\nallowed_ip=fd77::2/128\n", w.String())

	report, err := parseReport(strings.NewReader("private_key=00\nlisten_port=51820\npublic_key=" + hexKey(key) +
		"\nendpoint=[2001:db8::1]:7\nlast_handshake_time_sec=5\nlast_handshake_time_nsec=6\ntx_bytes=2\nrx_bytes=1\npublic_key=" + hexKey(wgtypes.Key{9}) + "\n\n"))
	require.NoError(t, err)
	require.EqualValues(t, 51820, report.listenPort)
	require.Len(t, report.peers, 2)
	require.Equal(t, deviceStats{time.Unix(5, 6), netip.MustParseAddrPort("[2001:db8::1]:7"), 1, 2}, report.peers[key])
	require.Zero(t, report.peers[wgtypes.Key{9}])
}

func FuzzParseReport(f *testing.F) {
	f.Add([]byte("listen_port=1\npublic_key=" + hexKey(wgtypes.Key{9}) + "\nendpoint=1.2.3.4:5\n\n"))
	f.Add([]byte("public_key=00\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		report, err := parseReport(bytes.NewReader(text))
		require.True(t, err == nil || report.peers == nil, "an error comes alone")
	})
}
