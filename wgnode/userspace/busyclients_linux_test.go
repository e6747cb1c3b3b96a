package userspace

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"github.com/waylume/waylume/internal/testutil/wgclient"
	"github.com/waylume/waylume/shaping"
)

// busyClients are the peers of a node in another process: one socket and one network stack for all of them.
type busyClients struct {
	client   *wgclient.Client
	link     *link
	stack    *stack.Stack
	sessions []*wgclient.Session // of peer 1 first
	arrived  atomic.Int64        // bytes at either end, since the beginning
}

// connectBusy shakes hands for so many peers.
func connectBusy(t testing.TB, p *busyProcess, peers int) *busyClients {
	t.Helper()
	c := &busyClients{}
	c.link = newLink(testMTU, func(n int) *shaping.Packet { return &shaping.Packet{Data: make([]byte, n)} }, c.send)
	var err error
	c.stack, err = newStack(c.link)
	require.NoError(t, err)
	server := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), p.port)
	c.client, err = wgclient.Dial(server, busyKey(0).PublicKey(), func(_ *wgclient.Session, packets [][]byte) {
		for i, packet := range packets {
			packets[i] = packet[:binary.BigEndian.Uint16(packet[2:])] // the stack would merge padding, too
		}
		c.link.inject(packets)
	})
	require.NoError(t, err)
	for i := range peers {
		var s *wgclient.Session
		for range 5 { // a message may get lost on a busy machine
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			s, err = c.client.Handshake(ctx, busyKey(i+1), wgtypes.Key{})
			cancel()
			if err == nil {
				break
			}
		}
		require.NoError(t, err)
		c.sessions = append(c.sessions, s)
	}
	return c
}

func (c *busyClients) close(t testing.TB) {
	t.Helper()
	require.NoError(t, c.client.Close())
	c.stack.Destroy()
}

// send encrypts what the stack sends.
func (c *busyClients) send(pkts []*shaping.Packet) {
	batch := make([][]byte, 0, conn.IdealBatchSize)
	var of *wgclient.Session
	flush := func() {
		if len(batch) > 0 {
			_ = of.Send(batch) // what is lost the stack repeats
		}
		batch = batch[:0]
	}
	for _, pkt := range pkts {
		s := c.sessions[binary.BigEndian.Uint16(pkt.Data[14:16])-1] // as busyAddr has it
		if s != of || len(batch) == cap(batch) {
			flush()
		}
		of, batch = s, append(batch, pkt.Data)
	}
	flush()
}

// dial opens a connection of a peer.
func (c *busyClients) dial(ctx context.Context, peer int, to netip.AddrPort) (net.Conn, error) {
	return gonet.DialTCPWithBind(ctx, c.stack,
		tcpip.FullAddress{NIC: nicID, Addr: tcpip.AddrFrom4(busyAddr(peer).As4())},
		tcpip.FullAddress{NIC: nicID, Addr: tcpip.AddrFrom4(to.Addr().As4()), Port: to.Port()}, ipv4.ProtocolNumber)
}

// move has all peers move bytes over so many connections of each, and returns how many bits arrive in a second: measured for as long
// as it is told, after half a second.
func (c *busyClients) move(t testing.TB, connections int, upload bool, d time.Duration) float64 {
	t.Helper()
	over := make(chan struct{})
	port := listen(t, func(conn *net.TCPConn) {
		go func() {
			<-over
			_ = conn.SetLinger(0) // a reset: nobody waits for what is still under way
			_ = conn.Close()
		}()
		if upload {
			_, _ = io.Copy(counter{&c.arrived}, conn)
		} else {
			_, _ = io.Copy(conn, endless{})
		}
	})
	var conns []net.Conn
	for range connections {
		for i := range c.sessions {
			conn, err := c.dial(t.Context(), i+1, netip.AddrPortFrom(web4, port))
			require.NoError(t, err)
			conns = append(conns, conn)
		}
	}
	var wg sync.WaitGroup
	for _, conn := range conns {
		wg.Go(func() {
			if upload {
				_, _ = io.Copy(conn, endless{})
			} else {
				_, _ = io.Copy(counter{&c.arrived}, conn)
			}
		})
	}
	time.Sleep(500 * time.Millisecond)
	from, at := c.arrived.Load(), time.Now()
	time.Sleep(d)
	rate := float64(8*(c.arrived.Load()-from)) / time.Since(at).Seconds()
	close(over)
	for _, conn := range conns {
		_ = conn.Close()
	}
	wg.Wait()
	return rate
}

// counter counts what it is written.
type counter struct{ n *atomic.Int64 }

func (c counter) Write(b []byte) (int, error) {
	c.n.Add(int64(len(b)))
	return len(b), nil
}
