package wgclient

import (
	"context"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/tun/tuntest"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server is a device of wireguard-go.
type server struct {
	dev  *device.Device
	tun  *tuntest.ChannelTUN
	key  wgtypes.Key
	port netip.AddrPort
}

func newServer(t *testing.T) *server {
	key, err := wgtypes.GeneratePrivateKey()
	require.NoError(t, err)
	s := &server{tun: tuntest.NewChannelTUN(), key: key}
	s.dev = device.NewDevice(s.tun.TUN(), conn.NewDefaultBind(), device.NewLogger(device.LogLevelSilent, ""))
	t.Cleanup(s.dev.Close)
	require.NoError(t, s.dev.IpcSet("private_key="+hex.EncodeToString(key[:])+"\n"))
	require.NoError(t, s.dev.Up())
	report, err := s.dev.IpcGet()
	require.NoError(t, err)
	_, rest, _ := strings.Cut(report, "listen_port=")
	port, _, _ := strings.Cut(rest, "\n")
	s.port = netip.MustParseAddrPort("127.0.0.1:" + port)
	return s
}

func (s *server) addPeer(t *testing.T, addr netip.Addr, preshared wgtypes.Key) wgtypes.Key {
	key, err := wgtypes.GeneratePrivateKey()
	require.NoError(t, err)
	public := key.PublicKey()
	require.NoError(t, s.dev.IpcSet(fmt.Sprintf("public_key=%s\npreshared_key=%s\nallowed_ip=%s/32\n",
		hex.EncodeToString(public[:]), hex.EncodeToString(preshared[:]), addr)))
	return key
}

func TestSessions(t *testing.T) {
	s := newServer(t)
	type received struct {
		by     *Session
		packet []byte
	}
	got := make(chan received, 16)
	c, err := Dial(s.port, s.key.PublicKey(), func(by *Session, packets [][]byte) {
		for _, p := range packets {
			got <- received{by, append([]byte(nil), p...)}
		}
	})
	require.NoError(t, err)
	defer func() { require.NoError(t, c.Close()) }()

	far := netip.MustParseAddr("192.0.2.1")
	preshared, err := wgtypes.GenerateKey()
	require.NoError(t, err)
	var sessions []*Session
	for i, psk := range []wgtypes.Key{{}, preshared} {
		addr := netip.AddrFrom4([4]byte{10, 0, 0, byte(i + 2)})
		session, err := c.Handshake(t.Context(), s.addPeer(t, addr, psk), psk)
		require.NoError(t, err)
		sessions = append(sessions, session)

		up := tuntest.Ping(far, addr)
		require.NoError(t, session.Send([][]byte{up}))
		require.Equal(t, up, <-s.tun.Inbound, "the server has what the peer sent")
		down := tuntest.Ping(addr, far)
		s.tun.Outbound <- down
		have := <-got
		require.Same(t, session, have.by)
		require.Equal(t, down, have.packet[:len(down)])
		require.Len(t, have.packet, padded(len(down)))
	}

	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	stranger, err := wgtypes.GeneratePrivateKey()
	require.NoError(t, err)
	_, err = c.Handshake(ctx, stranger, wgtypes.Key{})
	require.ErrorIs(t, err, context.DeadlineExceeded, "who is no peer gets no answer")

	c.Forget(sessions[0])
	s.tun.Outbound <- tuntest.Ping(netip.MustParseAddr("10.0.0.2"), far)
	s.tun.Outbound <- tuntest.Ping(netip.MustParseAddr("10.0.0.3"), far)
	require.Same(t, sessions[1], (<-got).by)
	require.Error(t, sessions[1].Send(make([][]byte, maxBatch+1)))
}

func TestBatch(t *testing.T) {
	s := newServer(t)
	c, err := Dial(s.port, s.key.PublicKey(), func(*Session, [][]byte) {})
	require.NoError(t, err)
	addr := netip.MustParseAddr("10.0.0.2")
	session, err := c.Handshake(t.Context(), s.addPeer(t, addr, wgtypes.Key{}), wgtypes.Key{})
	require.NoError(t, err)
	packets := make([][]byte, maxBatch)
	for i := range packets {
		packets[i] = tuntest.Ping(netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}), addr)
	}
	require.NoError(t, session.Send(packets))
	for _, p := range packets {
		require.Equal(t, p, <-s.tun.Inbound)
	}
	require.NoError(t, c.Close())
	require.NoError(t, c.Close())
	_, err = c.Handshake(t.Context(), s.addPeer(t, addr, wgtypes.Key{}), wgtypes.Key{})
	require.Error(t, err)
}
