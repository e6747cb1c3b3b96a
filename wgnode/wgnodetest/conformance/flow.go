package conformance

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stretchr/testify/require"
	"gvisor.dev/gvisor/pkg/tcpip/header"

	"github.com/waylume/waylume/quota"
	"github.com/waylume/waylume/shaping"
)

// datagramPayload is what each datagram of a measured flow carries: large, yet never cut into fragments.
const datagramPayload = 1200

// flow is traffic of one client in one direction, and the count of what was delivered of it.
type flow struct {
	name      string
	client    *client
	direction quota.Direction
	// delivered returns the inner IP bytes that have arrived at the receiving end.
	delivered func() uint64
	// began is when the flow began, or when it was restarted after base bytes had passed.
	began time.Time
	base  uint64
	// broken is set when the flow's connection ended by itself.
	broken atomic.Pointer[error]
	stop   func()
}

// flowSpec says what a flow is to be.
type flowSpec struct {
	network   string
	direction quota.Direction
	server    netip.Addr
	// pace is how fast datagrams are sent; TCP finds its own pace.
	pace shaping.Rate
}

func (s flowSpec) String() string {
	family := "IPv4"
	if s.server.Is6() {
		family = "IPv6"
	}
	return fmt.Sprintf("%s %s %v", s.network, family, s.direction)
}

// begin starts a flow that goes on until it is stopped or the test ends.
func (w *world) begin(c *client, spec flowSpec) *flow {
	w.t.Helper()
	f := &flow{name: spec.String(), client: c, direction: spec.direction, began: time.Now()}
	to := w.at(spec.server)
	switch {
	case spec.network == "tcp" && spec.direction == quota.Download:
		w.serveTCP(to, source)
		f.delivered = c.received.bytes.Load
		w.overTCP(f, to, func(conn io.ReadWriter) error {
			_, err := io.Copy(io.Discard, conn)
			return err
		})
	case spec.network == "tcp":
		s := w.serveTCP(to, sink)
		f.delivered = func() uint64 { return uint64(float64(s.payload.Load()) * c.overhead(spec.server)) }
		w.overTCP(f, to, func(conn io.ReadWriter) error {
			_, err := io.Copy(conn, endless{})
			return err
		})
	case spec.direction == quota.Download:
		w.floodUDP(to, datagramPayload, float64(spec.pace)/8)
		f.delivered = c.received.bytes.Load
		w.overUDP(f, to, 0)
	default:
		s := w.serveUDP(to, silent)
		size := headerLen(spec.server) + header.UDPMinimumSize
		f.delivered = func() uint64 { return s.payload.Load() + s.arrived.Load()*uint64(size) }
		w.overUDP(f, to, spec.pace)
	}
	w.t.Cleanup(f.stop)
	return f
}

// overhead is the number of inner IP bytes for each byte of payload in the full segments of a TCP connection, which bear
// timestamps (RFC 7323).
func (c *client) overhead(server netip.Addr) float64 {
	const timestamps = 12
	return float64(c.cfg.MTU) / float64(c.cfg.MTU-headerLen(server)-header.TCPMinimumSize-timestamps)
}

// restart forgets what passed under another limit, some of which may be on its way still.
func (w *world) restart(f *flow) {
	w.t.Helper()
	f.began, f.base = time.Now(), directed(w.counters(f.client), f.direction)
	if w.traits.SuperPackets {
		f.base = max(w.mostDelivered(f.base, f.client), f.delivered())
	}
}

// sinceBegan is what was delivered since the flow began or was restarted.
func (f *flow) sinceBegan() uint64 { return max(f.delivered(), f.base) - f.base }

// endless is a reader of zeros.
type endless struct{}

func (endless) Read(b []byte) (int, error) { return len(b), nil }

// overTCP opens the flow's connection and moves data over it.
func (w *world) overTCP(f *flow, to netip.AddrPort, move func(io.ReadWriter) error) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.ctx, patience)
	defer cancel()
	conn, err := f.client.stack.Dial(ctx, "tcp", to)
	require.NoError(w.t, err)
	var stopped atomic.Bool
	var wg sync.WaitGroup
	wg.Go(func() {
		err := move(onlyReadWrite{conn})
		if !stopped.Load() {
			err = fmt.Errorf("the connection of %s ended: %w", f.name, cmp.Or(err, io.EOF))
			f.broken.Store(&err)
		}
	})
	f.stop = func() {
		stopped.Store(true)
		_ = conn.Close()
		wg.Wait()
	}
}

// onlyReadWrite hides what io.Copy would use in place of reading and writing.
type onlyReadWrite struct{ io.ReadWriter }

// overUDP sends datagrams at a pace, or, if that is 0, greets the server until something comes back.
func (w *world) overUDP(f *flow, to netip.AddrPort, pace shaping.Rate) {
	w.t.Helper()
	conn, err := f.client.stack.Dial(w.ctx, "udp", to)
	require.NoError(w.t, err)
	done := make(chan struct{})
	stopped := func(wait time.Duration) bool {
		select {
		case <-done:
			return true
		case <-time.After(wait):
			return false
		}
	}
	datagram := make([]byte, datagramPayload)
	var wg sync.WaitGroup
	wg.Go(func() {
		if pace == 0 {
			for wait := time.Duration(0); f.delivered() == 0 && !stopped(wait); wait = probeRetry {
				_, _ = conn.Write(datagram[:1]) // sent again if it is lost
			}
			return
		}
		paced(float64(pace)/8, datagramPayload+headerLen(to.Addr())+header.UDPMinimumSize, func() bool {
			_, _ = conn.Write(datagram) // lost like any datagram
			select {
			case <-done:
				return false
			default:
				return true
			}
		})
	})
	f.stop = sync.OnceFunc(func() {
		close(done)
		_ = conn.Close()
		wg.Wait()
	})
}
