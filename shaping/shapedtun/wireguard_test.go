package shapedtun

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/conn/bindtest"
	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/tun"
	"golang.zx2c4.com/wireguard/tun/tuntest"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/shaping"
)

// TestUnderWireGuard runs two WireGuard devices in the process, one of them on a shaped tunnel device.
func TestUnderWireGuard(t *testing.T) {
	binds := bindtest.NewChannelBinds()
	server, client := newBench(t), tuntest.NewChannelTUN()
	server.peer(alice, "", shaping.Limit{Download: 50e6, Upload: 50e6})
	server.Start()
	var keys [2]wgtypes.Key
	for i := range keys {
		var err error
		keys[i], err = wgtypes.GeneratePrivateKey()
		require.NoError(t, err)
	}
	up(t, server, binds[0], keys[0], keys[1], alice, 1)
	up(t, client.TUN(), binds[1], keys[1], keys[0], web, 2)

	for i := range 20 {
		request, reply := tuntest.Ping(web, alice), tuntest.Ping(alice, web)
		client.Outbound <- request
		require.Equal(t, request, receive(t, server.inner.Inbound), "upload %d", i)
		server.inner.Outbound <- reply
		require.Equal(t, reply, receive(t, client.Inbound), "download %d", i)
	}
	require.EqualValues(t, 20, server.peers[alice].Upload().SentPackets)
	require.EqualValues(t, 20, server.peers[alice].Download().SentPackets)
}

func receive(t *testing.T, from <-chan []byte) []byte {
	select {
	case p := <-from:
		return p
	case <-time.After(10 * time.Second):
		require.Fail(t, "no packet came")
		return nil
	}
}

// up brings up a WireGuard device that ends with the test. The port is the name that bindtest has for the other side.
func up(t *testing.T, on tun.Device, bind conn.Bind, own, peer wgtypes.Key, allowed netip.Addr, port int) {
	d := device.NewDevice(on, bind, device.NewLogger(device.LogLevelError, ""))
	t.Cleanup(d.Close)
	public := peer.PublicKey()
	require.NoError(t, d.IpcSet(fmt.Sprintf("private_key=%s\nlisten_port=0\npublic_key=%s\nallowed_ip=%v/32\nendpoint=127.0.0.1:%d\n",
		hex.EncodeToString(own[:]), hex.EncodeToString(public[:]), allowed, port)))
	require.NoError(t, d.Up())
}
