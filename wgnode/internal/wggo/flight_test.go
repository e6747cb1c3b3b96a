package wggo

import (
	"context"
	"encoding/binary"
	"net"
	"net/netip"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/internal/testutil/wgclient"
)

// gated is a TUN whose writer waits while it is shut.
type gated struct {
	*pipe
	open chan struct{}
	once sync.Once
}

func (g *gated) release() { g.once.Do(func() { close(g.open) }) }

func (g *gated) Write(bufs [][]byte, offset int) (int, error) {
	<-g.open
	return g.pipe.Write(bufs, offset)
}

// crowd is a device and light peers of it.
type crowd struct {
	*Device
	tun      *gated
	at       netip.AddrPort
	got      atomic.Int64 // packets that the TUN was written
	sessions []*wgclient.Session
}

func crowdAddr(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}) }

// newCrowd connects so many peers, and makes one more that never connects.
func newCrowd(t *testing.T, peers int) *crowd {
	t.Helper()
	key := newKey(t)
	c := &crowd{}
	c.tun = &gated{pipe: newPipe(func([]byte) { c.got.Add(1) }), open: make(chan struct{})}
	var err error
	c.Device, err = New(c.tun, Config{PrivateKey: key})
	require.NoError(t, err)
	t.Cleanup(func() {
		c.tun.release()
		c.Close()
	})
	port, err := c.Up()
	require.NoError(t, err)
	c.at = netip.MustParseAddrPort("127.0.0.1:" + strconv.Itoa(int(port)))
	client, err := wgclient.Dial(c.at, key.PublicKey(), func(*wgclient.Session, [][]byte) {})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, client.Close()) })
	for i := range peers + 1 {
		private := newKey(t)
		require.NoError(t, c.Set(t.Context(), nil, []Peer{{
			PublicKey: private.PublicKey(), AllowedIPs: []netip.Prefix{netip.PrefixFrom(crowdAddr(i), 32)},
		}}))
		if i == peers {
			break
		}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		s, err := client.Handshake(ctx, private, wgtypes.Key{})
		cancel()
		require.NoError(t, err)
		c.sessions = append(c.sessions, s)
	}
	return c
}

func (c *crowd) flight() *flight { return c.owner.flight }

// bringIn has a peer be in the device, which calls it where nobody answers.
func (c *crowd) bringIn(t *testing.T, addr netip.Addr) {
	t.Helper()
	nobody, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, nobody.Close()) })
	c.reg.mu.RLock()
	e := c.reg.lookupLocked(addr)
	c.reg.mu.RUnlock()
	require.NotNil(t, e)
	e.door.Lock()
	defer e.door.Unlock()
	shared, ok := c.owner.identity.Load().shared(e.key[:])
	require.True(t, ok)
	_, err = c.bouncer.enter(e, c.owner, shared, nobody.LocalAddr().(*net.UDPAddr).AddrPort())
	require.NoError(t, err)
}

func (c *crowd) say(t *testing.T, peer, packets int) {
	t.Helper()
	for range packets {
		require.NoError(t, c.sessions[peer].Send([][]byte{packet(crowdAddr(peer), gateway, 1)}))
	}
}

// until waits for what is to come.
func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !done(); time.Sleep(time.Millisecond) {
		require.True(t, time.Now().Before(deadline), what)
	}
}

// settle sees to messages that did not come through, as keepalives do not: those whose buffers were given back, and, as a pool loses
// some under the race detector, those whose buffers are gone.
func (f *flight) settle() {
	runtime.GC()
	f.search()
}

func requireBounded(t *testing.T) {
	t.Helper()
	if !bounded {
		require.NotEqual(t, "linux", runtime.GOOS, "wireguard-go's buffers are others now: does what is inside it have a bound yet?")
		t.Skip("this system's wireguard-go has small buffers, or a bound of its own")
	}
}

// What may be in a device with one direction full: what its three readers hold, the bound, and a batch that each reader lets in at once.
func most(f *flight) int64 { return 3*conn.IdealBatchSize + f.limit + 2*conn.IdealBatchSize }

// A TUN that takes nothing does not let a device take more and more; what was sent meanwhile waits with the system, or is lost.
func TestInboundIsBounded(t *testing.T) {
	requireBounded(t)
	c := newCrowd(t, 8)
	f := c.flight()
	until(t, "the device is full", func() bool {
		for peer := range c.sessions {
			c.say(t, peer, 20)
		}
		return f.count[inbound].Load() >= f.limit
	})
	for peer := range c.sessions {
		c.say(t, peer, 20)
	}
	require.Never(t, func() bool {
		return f.count[inbound].Load() >= f.limit+2*conn.IdealBatchSize || f.owned.Load() > most(f)
	}, 300*time.Millisecond, time.Millisecond, "no more than one batch for each reader when it is full")
	require.Zero(t, c.got.Load())
	c.tun.release()
	until(t, "all has come through", func() bool {
		f.settle()
		return f.count[inbound].Load() == 0 && c.got.Load() >= f.limit
	})
	before := c.got.Load()
	until(t, "more comes through", func() bool {
		c.say(t, 0, 1)
		return c.got.Load() > before
	})
}

// Messages that are not authentic take a buffer for as long as it takes to find that out, and no more: nothing of them is left in the
// count, and a peer who sends them holds up nobody for good.
func TestForgedMessagesLeaveNothing(t *testing.T) {
	requireBounded(t)
	c := newCrowd(t, 2)
	c.tun.release()
	f := c.flight()
	socket, err := net.Dial("udp4", c.at.String())
	require.NoError(t, err)
	defer socket.Close()
	forged := make([]byte, 128)
	forged[0] = device.MessageTransportType
	binary.LittleEndian.PutUint32(forged[4:], c.sessions[0].Index())
	for range 20 {
		for range f.limit {
			_, err := socket.Write(forged)
			require.NoError(t, err)
		}
		before := c.got.Load()
		until(t, "another peer's message comes through", func() bool {
			c.say(t, 1, 1)
			return c.got.Load() > before
		})
	}
	until(t, "nothing is left", func() bool {
		f.settle()
		return f.count[inbound].Load() == 0 && f.owned.Load() <= most(f)
	})
}

// Packets for a peer that does not answer wait in the device, and others do not wait for them.
func TestStagedPacketsHoldUpNobody(t *testing.T) {
	requireBounded(t)
	c := newCrowd(t, 1)
	f := c.flight()
	absent := crowdAddr(len(c.sessions))
	c.bringIn(t, absent)
	until(t, "as many wait as may be inside", func() bool {
		for range conn.IdealBatchSize {
			c.tun.put(packet(gateway, absent, 1))
		}
		return f.count[outbound].Load() >= f.limit
	})
	sent := func() uint64 {
		s, err := c.Status()
		require.NoError(t, err)
		var n uint64
		for _, p := range s.Peers {
			n += p.SentBytes
		}
		return n
	}
	before := sent()
	const each, times = 64, 20 // bytes of a message, at least
	for range times {
		c.tun.put(packet(gateway, crowdAddr(0), 1))
	}
	until(t, "what another peer is sent goes out", func() bool { return sent() >= before+each*times })
	c.tun.release()
}

// Buffers that the device lets go are forgotten when they are collected, also those that were dropped on the way.
func TestCollectedBuffersAreForgotten(t *testing.T) {
	requireBounded(t)
	f := newFlight(0)
	lend := func() {
		reader := f.newIntake(inbound, func() bool { return true })
		bufs := make([][]byte, 10)
		for i := range bufs {
			bufs[i] = new([device.MaxMessageSize]byte)[:]
			bufs[i][0] = device.MessageTransportType
		}
		bufs[9][0] = device.MessageInitiationType
		reader.before(bufs)
		reader.after(bufs)
		require.EqualValues(t, 10, f.owned.Load())
		require.EqualValues(t, 9, f.count[inbound].Load(), "handshakes do not count")
		sent := append([][]byte(nil), bufs[:4]...)
		f.through(sent)
		for i, buf := range sent {
			require.Len(t, buf, len(bufs[i]))
			require.NotSame(t, &bufs[i][0], &buf[0], "the device would keep it")
		}
		f.through(sent)
		require.EqualValues(t, 5, f.count[inbound].Load())
		reader.before(bufs) // four came through, the others were never taken
		require.Zero(t, f.count[inbound].Load())
		reader.after(bufs[:3])
		require.EqualValues(t, 3, f.count[inbound].Load())
	}
	for range 3 {
		lend()
		until(t, "all are forgotten", func() bool {
			runtime.GC()
			return f.owned.Load() == 0
		})
		require.Zero(t, f.count[inbound].Load())
		require.Len(t, *f.labels.Load(), 10, "numbers are used again")
	}
}

// A device that is closed does not wait for room.
func TestCloseWhileFull(t *testing.T) {
	requireBounded(t)
	c := newCrowd(t, 4)
	f := c.flight()
	until(t, "a reader waits", func() bool {
		for peer := range c.sessions {
			c.say(t, peer, 20)
		}
		return f.waiting[inbound].Load() > 0
	})
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.Close()
	}()
	time.AfterFunc(50*time.Millisecond, c.tun.release)
	select {
	case <-done:
	case <-time.After(patience):
		require.Fail(t, "the device does not close")
	}
}

// BenchmarkFlight is what a message costs more, as it enters a device and comes through.
func BenchmarkFlight(b *testing.B) {
	f := newFlight(0)
	reader := f.newIntake(outbound, func() bool { return false })
	bufs := make([][]byte, conn.IdealBatchSize)
	for i := range bufs {
		bufs[i] = new([device.MaxMessageSize]byte)[:]
	}
	passed := make([][]byte, 0, len(bufs))
	b.ReportAllocs()
	for b.Loop() {
		reader.before(bufs)
		reader.after(bufs)
		f.through(append(passed[:0], bufs...))
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(bufs)), "ns/message")
}
