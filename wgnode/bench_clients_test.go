package wgnode_test

import (
	"context"
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/internal/testutil/wgclient"
	"github.com/waylume/waylume/wgnode"
)

// client is a peer that can connect.
type client struct {
	private wgtypes.Key
	addr    netip.Addr
}

// addClients adds peers that can connect.
func addClients(b *testing.B, node *wgnode.Node, n int) []client {
	clients, specs := make([]client, n), make([]wgnode.PeerSpec, n)
	for i := range clients {
		private, err := wgtypes.GeneratePrivateKey()
		require.NoError(b, err)
		clients[i].private = private
		specs[i].PublicKey = private.PublicKey()
		specs[i].DataCap.Bytes = 1 << 40
	}
	added, err := node.AddPeers(b.Context(), specs)
	require.NoError(b, err)
	for i := range clients {
		clients[i].addr = added[i].Addrs[0]
	}
	return clients
}

// connectClients has each client begin a session and send a packet, which the node counts. The sessions are there until closeAll.
func connectClients(b *testing.B, node *wgnode.Node, clients []client) (closeAll func()) {
	status, err := node.Status(b.Context())
	require.NoError(b, err)
	server := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), status.ListenPort)
	socket, err := wgclient.Dial(server, status.PublicKey, func(*wgclient.Session, [][]byte) {})
	require.NoError(b, err)
	for _, c := range clients {
		require.NoError(b, begin(b, socket, c.private).Send([][]byte{unanswered(c.addr)}))
	}
	require.Eventually(b, func() bool { return moved(b, node) == len(clients) }, time.Minute, 100*time.Millisecond)
	return func() { require.NoError(b, socket.Close()) }
}

// begin shakes hands. A message may get lost on a busy machine.
func begin(b *testing.B, socket *wgclient.Client, private wgtypes.Key) *wgclient.Session {
	var session *wgclient.Session
	require.Eventually(b, func() bool {
		ctx, cancel := context.WithTimeout(b.Context(), time.Second)
		defer cancel()
		var err error
		session, err = socket.Handshake(ctx, private, wgtypes.Key{})
		return err == nil
	}, time.Minute, 20*time.Millisecond)
	return session
}

// unanswered is a packet to the network of a protocol that nobody speaks (RFC 3692: 253 is for experiments), so that it ends in the
// node.
func unanswered(from netip.Addr) []byte {
	const size, protocol = 28, 253
	packet := make([]byte, size)
	packet[0] = 4<<4 | 5
	binary.BigEndian.PutUint16(packet[2:], size)
	packet[8], packet[9] = 64, protocol
	copy(packet[12:], from.AsSlice())
	copy(packet[16:], []byte{192, 0, 2, 1})
	return packet
}

// moved counts the peers of which something has passed.
func moved(b *testing.B, node *wgnode.Node) (n int) {
	stats, err := node.AllPeerStats(b.Context())
	require.NoError(b, err)
	for _, s := range stats {
		if s.Counters.Upload > 0 {
			n++
		}
	}
	return n
}
