package userspace

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"

	"github.com/waylume/waylume/internal/testutil/wgclient"
	"github.com/waylume/waylume/shaping"
	"github.com/waylume/waylume/wgnode"
)

// TestPortIsUsedAgain has a client open one connection after the other from one port, to a server that closes first: the exit's
// side of each is in TIME-WAIT when the next one comes, and its SYN is answered all the same.
func TestPortIsUsedAgain(t *testing.T) {
	r := newRig(t, Config{Dial: onLoopback}, wgnode.State{})
	key, err := wgtypes.GeneratePrivateKey()
	require.NoError(t, err)
	own := netip.MustParseAddr("10.0.0.9")
	require.NoError(t, r.dp.Apply(t.Context(), wgnode.Change{SetPeers: []wgnode.PeerState{
		{PublicKey: key.PublicKey(), Addrs: []netip.Addr{own}},
	}}))
	port := listen(t, func(c *net.TCPConn) { _, _ = c.Write([]byte("hello")) })

	var session *wgclient.Session
	var openings atomic.Int64
	client := newLink(testMTU, func(n int) *shaping.Packet { return &shaping.Packet{Data: make([]byte, n)} }, func(pkts []*shaping.Packet) {
		for _, pkt := range pkts {
			if _, _, ok := opening(pkt.Data); ok {
				openings.Add(1)
			}
			_ = session.Send([][]byte{pkt.Data}) // what is lost the stack repeats
		}
	})
	stack, err := newStack(client)
	require.NoError(t, err)
	defer stack.Destroy()
	server := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), r.info.ListenPort)
	wire, err := wgclient.Dial(server, r.key.PublicKey(), func(_ *wgclient.Session, packets [][]byte) {
		for i, packet := range packets {
			packets[i] = packet[:binary.BigEndian.Uint16(packet[2:])]
		}
		client.inject(packets)
	})
	require.NoError(t, err)
	defer func() { require.NoError(t, wire.Close()) }()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	session, err = wire.Handshake(ctx, key, wgtypes.Key{})
	require.NoError(t, err)

	const times = 6
	for range times {
		var c *gonet.TCPConn
		require.Eventually(t, func() bool { // the port is in use until the exit has acknowledged the end of the one before
			c, err = gonet.DialTCPWithBind(ctx, stack,
				tcpip.FullAddress{NIC: nicID, Addr: tcpip.AddrFrom4(own.As4()), Port: 4000},
				tcpip.FullAddress{NIC: nicID, Addr: tcpip.AddrFrom4(web4.As4()), Port: port}, ipv4.ProtocolNumber)
			return err == nil || !strings.Contains(err.Error(), (&tcpip.ErrPortInUse{}).String())
		}, time.Minute, time.Millisecond)
		require.NoError(t, err)
		said, err := io.ReadAll(c)
		require.NoError(t, err)
		require.Equal(t, "hello", string(said))
		require.NoError(t, c.Close())
	}
	require.Less(t, openings.Load(), int64(2*times-1), "SYNs for %d connections", times)
}
