package userspace

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"

	"github.com/waylume/waylume/internal/packet"
	"github.com/waylume/waylume/wgnode"
)

func checksumOf(b []byte) uint16 { return checksum.Checksum(b, 0) }

func TestUnreachableIsSound(t *testing.T) {
	peer4, peer6 := netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("fd77::2")
	for _, key := range []datagramKey{
		{networkUDP, netip.AddrPortFrom(peer4, 4000), netip.AddrPortFrom(web4, 53)},
		{networkUDP, netip.AddrPortFrom(peer6, 4000), netip.AddrPortFrom(web6, 53)},
	} {
		for verdict := dialRefused; verdict <= dialProhibited; verdict++ {
			quote := quoteUDP(key)
			b := buildUnreachable(quote, key.destination.Addr(), key.source.Addr(), verdict)
			var info packet.Info
			require.NoError(t, info.Parse(b))
			require.True(t, info.IsICMPError())
			require.Equal(t, key.destination.Addr(), info.Src)
			require.Equal(t, key.source.Addr(), info.Dst)
			message := b[info.Transport:]
			if info.Version == 4 {
				require.True(t, header.IPv4(b).IsChecksumValid())
				require.EqualValues(t, 0xffff, checksumOf(message))
			} else {
				sum := header.PseudoHeaderChecksum(header.ICMPv6ProtocolNumber, tcpip.AddrFromSlice(info.Src.AsSlice()),
					tcpip.AddrFromSlice(info.Dst.AsSlice()), uint16(len(message)))
				require.EqualValues(t, 0xffff, checksum.Checksum(message, sum))
			}
			var quoted packet.Info
			require.NoError(t, quoted.Parse(message[packet.ICMPHeaderLen:]))
			require.Equal(t, key.source.Addr(), quoted.Src)
			require.EqualValues(t, 53, quoted.DstPort)
		}
	}
}

// echoHost answers echo requests that a dialer hook is given, as a ping socket would.
type echoHost struct {
	net.Conn
	replies chan []byte
	closed  chan struct{}
	once    sync.Once
}

func newEchoHost() *echoHost {
	c, _ := net.Pipe()
	return &echoHost{Conn: c, replies: make(chan []byte, 16), closed: make(chan struct{})}
}

func (e *echoHost) Write(b []byte) (int, error) {
	reply := append([]byte{}, b...)
	reply[icmpType] = byte(header.ICMPv4EchoReply)
	if b[icmpType] == byte(header.ICMPv6EchoRequest) {
		reply[icmpType] = byte(header.ICMPv6EchoReply)
	}
	binary.BigEndian.PutUint16(reply[icmpID:], 4711) // the system's own identifier
	select {
	case e.replies <- reply:
		return len(b), nil
	case <-e.closed:
		return 0, net.ErrClosed
	}
}

func (e *echoHost) Read(b []byte) (int, error) {
	select {
	case reply := <-e.replies:
		return copy(b, reply), nil
	case <-e.closed:
		return 0, net.ErrClosed
	}
}

func (e *echoHost) Close() error {
	e.once.Do(func() { close(e.closed) })
	return e.Conn.Close()
}

func TestEchoThroughTheHook(t *testing.T) {
	r := newRig(t, Config{Dial: func(_ context.Context, flow Flow) (net.Conn, error) {
		require.Equal(t, networkICMP, flow.Network)
		return newEchoHost(), nil
	}}, wgnode.State{})
	p := r.addPeer(nil)
	for _, addr := range []netip.Addr{web4, web6} {
		ping(t, p, addr)
	}
}

func ping(t *testing.T, p *peer, addr netip.Addr) {
	t.Helper()
	c, err := p.DialPingAddr(netip.Addr{}, addr)
	require.NoError(t, err)
	defer c.Close()
	message := make([]byte, 64)
	message[icmpType] = byte(header.ICMPv4Echo)
	if addr.Is6() {
		message[icmpType] = byte(header.ICMPv6EchoRequest)
	}
	copy(message[header.ICMPv4MinimumSize:], "waylume")
	message[7] = 1
	// The stock client's ping connection misses what arrives before Read is called, so Read comes first.
	require.NoError(t, c.SetReadDeadline(time.Now().Add(20*time.Second)))
	answers := make(chan []byte, 1)
	go func() {
		defer close(answers)
		b := make([]byte, 100)
		if n, err := c.Read(b); err == nil {
			answers <- b[:n]
		}
	}()
	for {
		time.Sleep(20 * time.Millisecond)
		_, err := c.Write(message)
		require.NoError(t, err)
		select {
		case got, ok := <-answers:
			require.True(t, ok, "no echo reply from %s", addr)
			require.Equal(t, message[6:], got[6:], "sequence number and payload")
			return
		case <-time.After(500 * time.Millisecond):
		}
	}
}

// TestHookIsNotPassedBy makes sure that nothing leaves by the host's own sockets when a hook is set that cannot carry it.
func TestHookIsNotPassedBy(t *testing.T) {
	asked := make(chan string, 100)
	r := newRig(t, Config{Dial: func(_ context.Context, flow Flow) (net.Conn, error) {
		asked <- flow.Network
		return nil, errors.ErrUnsupported
	}}, wgnode.State{})
	p := r.addPeer(nil)
	c, err := p.DialPingAddr(netip.Addr{}, web4)
	require.NoError(t, err)
	defer c.Close()
	message := make([]byte, 64)
	message[icmpType] = byte(header.ICMPv4Echo)
	require.Eventually(t, func() bool {
		_, err := c.Write(message)
		require.NoError(t, err)
		_ = c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		_, err = c.Read(make([]byte, 100))
		require.Error(t, err, "an echo reply came although nothing can carry echo")
		return len(asked) > 0
	}, 10*time.Second, time.Millisecond)
	require.Equal(t, networkICMP, <-asked)
	require.NotContains(t, r.info.Limitations, "echo", "with a hook, the system's ping sockets do not matter")
}
