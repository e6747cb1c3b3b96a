package bench

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"

	"github.com/waylume/waylume/shaping"
)

// loadSpec is traffic of one client that takes all it can get.
type loadSpec struct {
	network   string // "tcp" or "udp"
	direction direction
	flows     int
	small     bool
	// offered is how much datagrams come to, of all flows; TCP finds its own pace.
	offered shaping.Rate
}

// Sizes of packets inside the tunnel, over IPv4.
const (
	ipv4Header, udpHeader = 20, 8
	tcpHeader             = 20 + 12 // with timestamps (RFC 7323), which all stacks here use
	smallSegment          = 576     // the least that IPv4 hosts agree on (RFC 791)
	smallDatagram         = 128
)

// packet is the length of the load's packets, from the IP header on.
func (s loadSpec) packet() int {
	switch {
	case !s.small:
		return tunnelMTU
	case s.network == "tcp":
		return smallSegment
	}
	return smallDatagram
}

// payload is what each packet carries.
func (s loadSpec) payload() int {
	if s.network == "tcp" {
		return s.packet() - ipv4Header - tcpHeader
	}
	return s.packet() - ipv4Header - udpHeader
}

// load is traffic under way.
type load struct {
	spec     loadSpec
	received atomic.Int64 // bytes of payload at the receiving end, of all flows
	arrivals arrivals     // of TCP, whose receiving ends count in order
	last     atomic.Int64 // when the last datagram came to the receiving host, in ns of the wall clock
	closers  []interface{ Close() error }
	stopping chan struct{}
	wait     sync.WaitGroup
}

// delivered is what has arrived at the receiving end, in bytes of IP packets inside the tunnel. TCP's are counted as full segments:
// what acknowledges alone goes the other way.
func (l *load) delivered() uint64 {
	if l.arrivals != nil {
		return l.spec.whole(l.arrivals.payload())
	}
	return l.spec.whole(uint64(l.received.Load()))
}

// whole is how long the packets are that carry so much.
func (s loadSpec) whole(payload uint64) uint64 {
	return uint64(float64(payload) * float64(s.packet()) / float64(s.payload()))
}

// startLoad opens a load's flows between a client and the server of its exit, which go on until stop.
func startLoad(tb testing.TB, c *client, spec loadSpec) *load {
	tb.Helper()
	l := &load{spec: spec, stopping: make(chan struct{})}
	if spec.network == "tcp" {
		l.openTCP(tb, c)
	} else {
		l.openUDP(tb, c)
	}
	return l
}

// stop ends the load, and waits until nothing of it is left at either end.
func (l *load) stop() {
	close(l.stopping)
	for _, c := range l.closers {
		if t, ok := c.(*net.TCPConn); ok {
			_ = t.SetLinger(0) // what is under way is of no interest
		}
		_ = c.Close()
	}
	l.wait.Wait()
}

// loadSocket has a socket send segments of the load's size, and fill queues as most of the internet does: with CUBIC (RFC 9438),
// where the machine's own choice may be one that avoids that.
func (l *load) loadSocket(_, _ string, raw syscall.RawConn) error {
	var failed error
	err := raw.Control(func(fd uintptr) {
		failed = unix.SetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION, "cubic")
		if l.spec.small {
			size := smallSegment - ipv4Header - tcpHeader + 12 // the option's own length is not of the MSS (RFC 6691)
			failed = errors.Join(failed, unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_MAXSEG, size))
		}
	})
	return errors.Join(err, failed)
}

func (l *load) openTCP(tb testing.TB, c *client) {
	tb.Helper()
	server := c.exit.server
	var listener net.Listener
	server.Do(tb, func() (err error) {
		config := net.ListenConfig{Control: l.loadSocket}
		listener, err = config.Listen(tb.Context(), "tcp", netip.AddrPortFrom(server.addrs[0], 0).String())
		return err
	})
	defer func() { require.NoError(tb, listener.Close()) }()
	var senders tcpSenders
	for range l.spec.flows {
		var near net.Conn
		c.Do(tb, func() (err error) {
			dialer := net.Dialer{Control: l.loadSocket, Timeout: patience}
			near, err = dialer.DialContext(tb.Context(), "tcp", listener.Addr().String())
			return err
		})
		far, err := listener.Accept()
		require.NoError(tb, err)
		l.closers = append(l.closers, near, far)
		from, to := near, far
		if l.spec.direction == down {
			from, to = far, near
		}
		senders = append(senders, tcpSender{from.(*net.TCPConn), l.spec.payload()})
		l.wait.Go(func() { flood(from) })
		l.wait.Go(func() { drain(to, &l.received) })
	}
	l.arrivals = senders
	if l.spec.direction == down {
		l.arrivals = watchLink(tb, c)
	}
}

// openUDP opens flows of datagrams. Downwards the server answers a greeting with all that is offered, as a client behind an exit
// cannot be reached before it has sent something.
func (l *load) openUDP(tb testing.TB, c *client) {
	tb.Helper()
	server := c.exit.server
	each := float64(l.spec.offered) / 8 / float64(l.spec.flows)
	for range l.spec.flows {
		var near, far *net.UDPConn
		server.Do(tb, func() (err error) {
			far, err = net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(server.addrs[0], 0)))
			return err
		})
		c.Do(tb, func() (err error) {
			near, err = net.DialUDP("udp4", nil, far.LocalAddr().(*net.UDPAddr))
			return err
		})
		const buffer = 4 << 20
		require.NoError(tb, errors.Join(near.SetReadBuffer(buffer), far.SetReadBuffer(buffer), stampArrivals(near), stampArrivals(far)))
		l.closers = append(l.closers, near, far)
		if l.spec.direction == up {
			l.wait.Go(func() { l.offer(near, nil, each) })
			l.wait.Go(func() { l.take(far) })
			continue
		}
		client := l.greet(tb, near, far)
		l.wait.Go(func() { l.offer(far, client, each) })
		l.wait.Go(func() { l.take(near) })
	}
}

// greet has the client send until the server has heard of it, and returns whom the server is to answer.
func (l *load) greet(tb testing.TB, near, far *net.UDPConn) net.Addr {
	tb.Helper()
	for range 100 {
		_, err := near.Write([]byte{0})
		require.NoError(tb, err)
		require.NoError(tb, far.SetReadDeadline(time.Now().Add(100*time.Millisecond)))
		if _, from, err := far.ReadFromUDP(make([]byte, 1)); err == nil {
			return from
		}
	}
	require.Fail(tb, "no greeting comes to the server")
	return nil
}

// offer sends datagrams at a rate in bytes of IP packets a second. What it is late for it makes up for.
func (l *load) offer(conn *net.UDPConn, to net.Addr, rate float64) {
	const most = 64 // datagrams of one call
	batch := make([]ipv4.Message, most)
	payload := make([]byte, l.spec.payload())
	for i := range batch {
		batch[i] = ipv4.Message{Buffers: [][]byte{payload}, Addr: to}
	}
	out := ipv4.NewPacketConn(conn)
	next := time.Now()
	each := time.Duration(float64(l.spec.packet()) / rate * float64(time.Second))
	behind := max(50*time.Millisecond, each) // what is made up for at most
	for {
		select {
		case <-l.stopping:
			return
		default:
		}
		now := time.Now()
		if next.Before(now.Add(-behind)) {
			next = now.Add(-behind)
		}
		due := int(now.Sub(next) / each)
		if due <= 0 {
			time.Sleep(max(each, time.Millisecond))
			continue
		}
		n, err := out.WriteBatch(batch[:min(due, most)], 0)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		next = next.Add(time.Duration(max(n, 1)) * each) // one that the system refused is lost like any other
	}
}

// take counts datagrams that come.
func (l *load) take(conn *net.UDPConn) {
	batch := make([]ipv4.Message, 64)
	for i := range batch {
		batch[i].Buffers, batch[i].OOB = [][]byte{make([]byte, tunnelMTU)}, make([]byte, stampBytes())
	}
	_ = conn.SetReadDeadline(time.Time{}) // it fails when the socket is closed, which is seen next
	for in := ipv4.NewPacketConn(conn); ; {
		n, err := in.ReadBatch(batch, 0)
		var refused syscall.Errno
		switch {
		case errors.As(err, &refused) && refused == unix.ECONNREFUSED:
			continue // the other end was not there yet
		case err != nil:
			return
		}
		var sum int64
		for _, m := range batch[:n] {
			sum += int64(m.N)
		}
		if newest := batch[max(n, 1)-1]; n > 0 {
			if at, err := arrival(newest.OOB[:newest.NN]); err == nil { // what has none came before anybody asked for it
				l.last.Store(max(at, l.last.Load()))
			}
		}
		l.received.Add(sum)
	}
}

// String names the load as the benchmarks do.
func (s loadSpec) String() string {
	size := "large"
	if s.small {
		size = "small"
	}
	return fmt.Sprintf("protocol=%s/flows=%d/size=%s/direction=%s", s.network, s.flows, size, s.direction)
}
