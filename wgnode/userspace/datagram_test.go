package userspace

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"github.com/waylume/waylume/wgnode"
)

type wgKey = wgtypes.Key

func tcpID(port uint16) stack.TransportEndpointID {
	return stack.TransportEndpointID{RemotePort: port, RemoteAddress: tcpip.AddrFrom4([4]byte{10, 0, 0, 2})}
}

// echoUDP answers each datagram with itself, from the loopback.
func echoUDP(t testing.TB) uint16 {
	t.Helper()
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	require.NoError(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		b := make([]byte, 65536)
		for {
			n, from, err := c.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			_, _ = c.WriteToUDPAddrPort(b[:n], from)
		}
	}()
	t.Cleanup(func() {
		_ = c.Close()
		<-done
	})
	return c.LocalAddr().(*net.UDPAddr).AddrPort().Port()
}

func TestUDPCarriesBothWays(t *testing.T) {
	r := newRig(t, Config{Dial: onLoopback}, wgnode.State{})
	p := r.addPeer(nil)
	port := echoUDP(t)
	for _, addr := range []netip.Addr{web4, web6} {
		c, err := p.DialUDPAddrPort(netip.AddrPort{}, netip.AddrPortFrom(addr, port))
		require.NoError(t, err)
		for _, size := range []int{2, 1200, 1500, 9000, 60000} { // from 1,500 on in fragments, both ways
			sent := bytes.Repeat([]byte{byte(size), 7}, size/2)
			got := exchange(t, c, sent)
			require.True(t, bytes.Equal(sent, got), "%s: %d bytes sent, %d back", addr, len(sent), len(got))
		}
		require.NoError(t, c.Close())
	}
}

// exchange sends until an answer comes: a datagram may be lost.
func exchange(t *testing.T, c net.Conn, sent []byte) []byte {
	t.Helper()
	b := make([]byte, 65536)
	for range 20 {
		_, err := c.Write(sent)
		require.NoError(t, err)
		require.NoError(t, c.SetReadDeadline(time.Now().Add(time.Second)))
		if n, err := c.Read(b); err == nil {
			return b[:n]
		}
	}
	t.Fatalf("no answer to a datagram of %d bytes", len(sent))
	return nil
}

func TestEmptyDatagramIsReadOnce(t *testing.T) {
	host, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	require.NoError(t, err)
	defer host.Close()
	c, err := net.DialUDP("udp4", nil, host.LocalAddr().(*net.UDPAddr))
	require.NoError(t, err)
	defer c.Close()
	for _, datagram := range []string{"", "after"} {
		_, err = host.WriteTo([]byte(datagram), c.LocalAddr())
		require.NoError(t, err)
	}
	var got []string
	read := newDatagramReader(c, new(buffers), func(b []byte) { got = append(got, string(b)) })
	for len(got) < 2 {
		require.NoError(t, read())
	}
	require.Equal(t, []string{"", "after"}, got)
}

func TestUDPRefusalReachesThePeer(t *testing.T) {
	r := newRig(t, Config{Dial: onLoopback}, wgnode.State{})
	p := r.addPeer(nil)
	free, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	require.NoError(t, err)
	port := free.LocalAddr().(*net.UDPAddr).AddrPort().Port()
	require.NoError(t, free.Close())
	for _, addr := range []netip.Addr{web4, web6} {
		c, err := p.DialUDPAddrPort(netip.AddrPort{}, netip.AddrPortFrom(addr, port))
		require.NoError(t, err)
		require.Eventually(t, func() bool {
			_, err := c.Write([]byte("anyone?"))
			if err == nil {
				_ = c.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
				_, err = c.Read(make([]byte, 1))
			}
			var timeout net.Error
			return err != nil && (!errors.As(err, &timeout) || !timeout.Timeout())
		}, 10*time.Second, 10*time.Millisecond, "no port unreachable over %s", addr)
		_ = c.Close()
	}
}

func TestUDPFlowLimitEndsTheOldest(t *testing.T) {
	limits := DefaultLimits()
	limits.UDPFlows = 2
	h := newHoldings(wgKey{1}, limits)
	var flows []*datagramFlow
	for i := range 3 {
		f, fresh, err := h.datagram(datagramKey{network: networkUDP, source: netip.AddrPortFrom(web4, uint16(i+1))})
		require.NoError(t, err)
		require.True(t, fresh)
		f.active.Store(int64(i))
		flows = append(flows, f)
	}
	require.Error(t, flows[0].ctx.Err(), "the flow that was idle longest ends")
	require.NoError(t, flows[1].ctx.Err())
	require.NoError(t, flows[2].ctx.Err())
	require.Equal(t, 2, h.count[networkUDP])
	again, fresh, err := h.datagram(flows[2].key)
	require.NoError(t, err)
	require.False(t, fresh)
	require.Same(t, flows[2], again)

	h.sweep(time.Now().Add(time.Hour))
	require.Empty(t, h.datagrams)
	require.Zero(t, h.count[networkUDP])
	h.close()
	_, _, err = h.datagram(flows[2].key)
	require.ErrorIs(t, err, errGone)
}

func TestNewFlowsAreRateLimited(t *testing.T) {
	limits := DefaultLimits()
	limits.NewFlowsPerSecond, limits.NewFlowsBurst = 1, 5
	h := newHoldings(wgKey{1}, limits)
	refused := 0
	for i := range 20 {
		if _, err := h.addTCP(tcpID(uint16(i + 1))); err != nil {
			require.ErrorIs(t, err, errTooFast)
			refused++
		}
	}
	require.GreaterOrEqual(t, refused, 14)
}

func TestSlowHookHoldsNobodyUp(t *testing.T) {
	port := echoUDP(t)
	r := newRig(t, Config{Dial: func(ctx context.Context, flow Flow) (net.Conn, error) {
		if flow.Destination.Port() != port {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		return onLoopback(ctx, flow)
	}}, wgnode.State{})
	p := r.addPeer(nil)
	stuck, err := p.DialUDPAddrPort(netip.AddrPort{}, netip.AddrPortFrom(web4, 9))
	require.NoError(t, err)
	for range 10 * queuedDatagrams {
		_, err = stuck.Write(make([]byte, 1000))
		require.NoError(t, err)
	}
	c, err := p.DialUDPAddrPort(netip.AddrPort{}, netip.AddrPortFrom(web4, port))
	require.NoError(t, err)
	require.Equal(t, "ping", string(exchange(t, c, []byte("ping"))))
	require.Eventually(t, func() bool {
		stats, err := r.dp.Stats(t.Context(), wgnode.StatsQuery{})
		return err == nil && stats.Dropped["host socket full"] > 0
	}, 10*time.Second, 10*time.Millisecond)
}

// TestDatagramsInBursts has more datagrams come at once than a batch has, both ways: all arrive, in order, whatever their sizes.
func TestDatagramsInBursts(t *testing.T) {
	r := newRig(t, Config{Dial: onLoopback}, wgnode.State{})
	p := r.addPeer(nil)
	port := echoUDP(t)
	for _, addr := range []netip.Addr{web4, web6} {
		c, err := p.DialUDPAddrPort(netip.AddrPort{}, netip.AddrPortFrom(addr, port))
		require.NoError(t, err)
		require.Equal(t, "open", string(exchange(t, c, []byte("open"))))
		const burst = 200
		for i := range burst {
			_, err := c.Write(append([]byte{byte(i)}, make([]byte, i*7)...))
			require.NoError(t, err)
		}
		b := make([]byte, 65536)
		last, came := -1, 0
		for range burst {
			require.NoError(t, c.SetReadDeadline(time.Now().Add(2*time.Second)))
			n, err := c.Read(b)
			if err != nil {
				break
			}
			i := int(b[0])
			require.Greater(t, i, last, "in order")
			require.Equal(t, 1+i*7, n)
			last, came = i, came+1
		}
		require.Greater(t, came, burst/2, "%s: a socket's buffer may be full, and yet most arrive", addr)
		require.NoError(t, c.Close())
	}
}

// TestPlainUDP tells what may go past the stack from what must not.
func TestPlainUDP(t *testing.T) {
	key := datagramKey{
		network: networkUDP, source: netip.MustParseAddrPort("10.0.0.2:1000"), destination: netip.MustParseAddrPort("192.0.2.1:53"),
	}
	key6 := datagramKey{
		network: networkUDP, source: netip.MustParseAddrPort("[fd77::2]:1000"), destination: netip.MustParseAddrPort("[2001:db8::1]:53"),
	}
	build := func(key datagramKey, payload string) []byte {
		b := append(quoteUDP(key), payload...)
		udp := len(b) - len(payload) - 8
		b[udp+5] = byte(8 + len(payload))
		if b[0]>>4 == 4 {
			b[3] = byte(len(b))
		} else {
			b[5] = byte(len(b) - 40)
		}
		return b
	}
	for _, want := range []datagramKey{key, key6} {
		for _, payload := range []string{"", "hello"} {
			got, data, ok := plainUDP(build(want, payload))
			require.True(t, ok)
			require.Equal(t, want, got)
			require.Equal(t, payload, string(data))
		}
	}
	multicast, broadcast := key, key
	multicast.destination, broadcast.destination = netip.MustParseAddrPort("224.0.0.1:1"), netip.MustParseAddrPort("255.255.255.255:1")
	for name, b := range map[string][]byte{
		"options":            edit(build(key, "x"), 0, 0x46),
		"more fragments":     edit(build(key, "x"), 6, 0x20),
		"a later fragment":   edit(build(key, "x"), 7, 1),
		"TCP":                edit(build(key, "x"), 9, 6),
		"longer than it is":  edit(build(key, "x"), 3, 30),
		"longer UDP":         edit(build(key, "x"), 25, 10),
		"shorter UDP":        edit(build(key, "xyz"), 25, 9),
		"shorter than UDP":   edit(build(key, ""), 25, 7),
		"an extension":       edit(build(key6, "x"), 6, 0),
		"longer IPv6":        edit(build(key6, "x"), 5, 20),
		"another version":    edit(build(key, "x"), 0, 0x55),
		"multicast":          build(multicast, "x"),
		"broadcast":          build(broadcast, "x"),
		"nothing":            {},
		"a part of a header": build(key, "")[:27],
	} {
		_, _, ok := plainUDP(b)
		require.False(t, ok, name)
	}
}

func edit(b []byte, at int, value byte) []byte {
	b[at] = value
	return b
}
