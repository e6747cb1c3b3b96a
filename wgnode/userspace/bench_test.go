package userspace

import (
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/tun/netstack"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/internal/clienttun"
	"github.com/waylume/waylume/shaping"
	"github.com/waylume/waylume/wgnode"
)

// benchChunk is what one benchmark operation moves over each stream, in bytes.
const benchChunk = 1 << 20

// BenchmarkExit moves bytes between a stock WireGuard client and a server on the loopback, through the node; "bare" is
// what the same client reaches against a stock wireguard-go with a netstack, the most that could be had.
func BenchmarkExit(b *testing.B) {
	for _, streams := range []int{1, 8} {
		for _, upload := range []bool{false, true} {
			direction := "download"
			if upload {
				direction = "upload"
			}
			for _, kind := range []string{"bare", "exit", "shaped"} {
				b.Run(fmt.Sprintf("%s/streams=%d/%s", direction, streams, kind), func(b *testing.B) {
					dial := benchDialer(b, kind, upload)
					benchStreams(b, dial, streams, upload)
				})
			}
		}
	}
}

// benchServer serves one connection: it sends for as long as it is read, or reads all there is.
func benchServer(upload bool) func(net.Conn) {
	return func(c net.Conn) {
		if upload {
			_, _ = io.Copy(io.Discard, c)
			return
		}
		chunk := make([]byte, benchChunk)
		for {
			if _, err := c.Write(chunk); err != nil {
				return
			}
		}
	}
}

func benchDialer(b *testing.B, kind string, upload bool) func() (net.Conn, error) {
	if kind == "bare" {
		return bareDialer(b, upload)
	}
	r := newRig(b, Config{Dial: onLoopback}, wgnode.State{})
	p := r.addPeer(func(s *wgnode.PeerState) {
		if kind == "shaped" {
			s.SpeedLimit = shaping.Limit{Download: 100e9, Upload: 100e9} // higher than can be reached: what shaping costs
		}
	})
	serve := benchServer(upload)
	port := listen(b, func(c *net.TCPConn) { serve(c) })
	return func() (net.Conn, error) { return p.DialContextTCPAddrPort(b.Context(), netip.AddrPortFrom(web4, port)) }
}

// bareDialer connects two stock devices, without any node between.
func bareDialer(b *testing.B, upload bool) func() (net.Conn, error) {
	server, serverKey := netip.MustParseAddr("10.0.0.1"), benchKey(b)
	client, clientKey := netip.MustParseAddr("10.0.0.2"), benchKey(b)
	serverNet, serverDevice := bareDevice(b, server, serverKey, clientKey.PublicKey(), client, 0)
	port := devicePort(b, serverDevice)
	clientNet, _ := bareDevice(b, client, clientKey, serverKey.PublicKey(), server, port)
	l, err := serverNet.ListenTCPAddrPort(netip.AddrPortFrom(server, 80))
	require.NoError(b, err)
	serve := benchServer(upload)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				serve(c)
			})
		}
	})
	b.Cleanup(func() { _ = l.Close() })
	return func() (net.Conn, error) {
		return clientNet.DialContextTCPAddrPort(b.Context(), netip.AddrPortFrom(server, 80))
	}
}

func benchKey(b *testing.B) wgtypes.Key {
	key, err := wgtypes.GeneratePrivateKey()
	require.NoError(b, err)
	return key
}

func bareDevice(b *testing.B, addr netip.Addr, key, peer wgtypes.Key, peerAddr netip.Addr, port uint16) (*netstack.Net, *device.Device) {
	tun, stack, err := clienttun.Create([]netip.Addr{addr}, nil, testMTU)
	require.NoError(b, err)
	dev := device.NewDevice(tun, conn.NewDefaultBind(), device.NewLogger(device.LogLevelSilent, ""))
	config := fmt.Sprintf("private_key=%s\npublic_key=%s\nallowed_ip=%s/32\n", hex.EncodeToString(key[:]), hex.EncodeToString(peer[:]), peerAddr)
	if port != 0 {
		config += fmt.Sprintf("endpoint=127.0.0.1:%d\n", port)
	}
	require.NoError(b, dev.IpcSet(config))
	require.NoError(b, dev.Up())
	b.Cleanup(dev.Close)
	return stack, dev
}

func devicePort(b *testing.B, dev *device.Device) uint16 {
	report, err := dev.IpcGet()
	require.NoError(b, err)
	_, rest, _ := strings.Cut(report, "listen_port=")
	port, err := strconv.ParseUint(rest[:strings.IndexByte(rest, '\n')], 10, 16)
	require.NoError(b, err)
	return uint16(port)
}

func benchStreams(b *testing.B, dial func() (net.Conn, error), streams int, upload bool) {
	conns := make([]net.Conn, streams)
	for i := range conns {
		c, err := dial()
		require.NoError(b, err)
		defer c.Close()
		conns[i] = c
	}
	b.SetBytes(int64(streams) * benchChunk)
	b.ReportAllocs()
	for b.Loop() {
		var wg sync.WaitGroup
		for _, c := range conns {
			wg.Go(func() {
				var err error
				if upload {
					_, err = c.Write(make([]byte, benchChunk))
				} else {
					_, err = io.CopyN(io.Discard, c, benchChunk)
				}
				if err != nil {
					b.Error(err)
				}
			})
		}
		wg.Wait()
	}
}
