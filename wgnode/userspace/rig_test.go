package userspace

import (
	"context"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/tun/netstack"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/internal/clienttun"
	"github.com/waylume/waylume/wgnode"
)

const testMTU = 1420

// rig is a dataplane on the loopback with clients that are stock WireGuard.
type rig struct {
	t    testing.TB
	dp   *Dataplane
	info wgnode.DataplaneInfo
	key  wgtypes.Key

	mu     sync.Mutex
	events []wgnode.DataplaneEvent
	next   byte
}

var (
	testGateway4 = netip.MustParsePrefix("10.0.0.1/8")
	testGateway6 = netip.MustParsePrefix("fd77::1/64")
)

func newRig(t testing.TB, cfg Config, want wgnode.State) *rig {
	t.Helper()
	key, err := wgtypes.GeneratePrivateKey()
	require.NoError(t, err)
	dp, err := New(cfg)
	require.NoError(t, err)
	r := &rig{t: t, dp: dp, key: key, next: 2}
	r.info, err = dp.Start(t.Context(), r.config(), want)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, dp.Close()) })
	return r
}

func (r *rig) config() wgnode.DataplaneConfig {
	return wgnode.DataplaneConfig{
		PrivateKey: r.key, MTU: testMTU, Addresses: []netip.Prefix{testGateway4, testGateway6},
		Pool: []netip.Prefix{testGateway4.Masked(), testGateway6.Masked()},
		Notify: func(e wgnode.DataplaneEvent) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.events = append(r.events, e)
		},
		Logger: slog.New(slog.DiscardHandler),
	}
}

// peer is a client and what the dataplane was told of it.
type peer struct {
	*netstack.Net
	state  wgnode.PeerState
	device *device.Device
}

// addPeer sets a peer, changed by edit, and connects its client.
func (r *rig) addPeer(edit func(*wgnode.PeerState)) *peer {
	r.t.Helper()
	key, err := wgtypes.GeneratePrivateKey()
	require.NoError(r.t, err)
	last := r.next
	r.next++
	state := wgnode.PeerState{
		PublicKey: key.PublicKey(),
		Addrs:     []netip.Addr{netip.AddrFrom4([4]byte{10, 0, 0, last}), netip.MustParseAddr(fmt.Sprintf("fd77::%x", last))},
	}
	if edit != nil {
		edit(&state)
	}
	require.NoError(r.t, r.dp.Apply(r.t.Context(), wgnode.Change{SetPeers: []wgnode.PeerState{state}}))
	return r.connect(key, state)
}

func (r *rig) connect(key wgtypes.Key, state wgnode.PeerState) *peer {
	r.t.Helper()
	tun, stack, err := clienttun.Create(state.Addrs, nil, testMTU)
	require.NoError(r.t, err)
	dev := device.NewDevice(tun, conn.NewDefaultBind(), device.NewLogger(device.LogLevelError, "client "))
	public := r.key.PublicKey()
	require.NoError(r.t, dev.IpcSet(fmt.Sprintf("private_key=%s\npublic_key=%s\nendpoint=127.0.0.1:%d\nallowed_ip=0.0.0.0/0\nallowed_ip=::/0\n",
		hex.EncodeToString(key[:]), hex.EncodeToString(public[:]), r.info.ListenPort)))
	require.NoError(r.t, dev.Up())
	r.t.Cleanup(dev.Close)
	return &peer{Net: stack, state: state, device: dev}
}

// Addresses that stand for the internet.
var (
	web4 = netip.MustParseAddr("192.0.2.80")
	web6 = netip.MustParseAddr("2001:db8::80")
)

// onLoopback maps documentation addresses to servers on the loopback by their port alone.
func onLoopback(ctx context.Context, flow Flow) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, flow.Network, netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), flow.Destination.Port()).String())
}

// listen starts a TCP server on the loopback; serve runs for each connection and closes it at its end.
func listen(t testing.TB, serve func(*net.TCPConn)) uint16 {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				serve(c.(*net.TCPConn))
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		wg.Wait()
	})
	return l.Addr().(*net.TCPAddr).AddrPort().Port()
}

// endless never ends.
type endless struct{}

func (endless) Read(b []byte) (int, error) { return len(b), nil }
