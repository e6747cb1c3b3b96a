package shapedtun

import (
	"errors"
	"net/netip"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.zx2c4.com/wireguard/tun"
	"golang.zx2c4.com/wireguard/tun/tuntest"

	"github.com/waylume/waylume/shaping"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestBothDirections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		defer b.finish()
		require.NoError(t, b.SetGroup("acme", shaping.Limit{Upload: 4e6}))
		b.peer(alice, "acme", shaping.Limit{Download: 10e6})
		b.peer(bob, "acme", shaping.Limit{Download: 5e6, Upload: 1e6})
		b.Start()
		b.count()
		const d = 2 * time.Second
		b.flood(d, alice, bob)
		b.mu.Lock()
		defer b.mu.Unlock()
		for what, c := range map[string]struct {
			want shaping.Rate
			got  int
		}{
			"alice down": {10e6, b.down[alice]}, "bob down": {5e6, b.down[bob]},
			"alice up": {3e6, b.up[alice]}, "bob up": {1e6, b.up[bob]},
		} {
			want := float64(c.want.Bytes(d))
			require.InDelta(t, want, c.got, 0.01*want+3*1400, what)
		}
		require.EqualValues(t, b.down[alice], b.peers[alice].Download().SentBytes)
		require.NotZero(t, b.peers[bob].Upload().DroppedPackets)
	})
}

func TestPeersWithoutLimitPass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		defer b.finish()
		b.peer(alice, "", shaping.Limit{}) // bob has no leaf at all
		b.Start()
		b.count()
		b.flood(50*time.Millisecond, alice, bob)
		for _, bytes := range []map[netip.Addr]int{b.down, b.up} {
			require.Equal(t, 50*4*1400, bytes[alice])
			require.Equal(t, 50*4*1400, bytes[bob])
		}
		require.NoError(t, b.SetRoot(shaping.Limit{Download: 1e6, Upload: 1e6}))
		clear(b.down)
		clear(b.up)
		b.flood(time.Second, alice)
		require.InDelta(t, 1e6/8, b.down[alice], 5000)
		require.InDelta(t, 1e6/8, b.up[alice], 5000)
	})
}

func TestMalformedIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		defer b.finish()
		b.Start()
		b.count()
		for _, bad := range [][]byte{{}, {0x45}, make([]byte, 100), datagram(web, alice, 100)[:60]} {
			b.inner.Outbound <- bad
			n, err := b.Write([][]byte{append(make([]byte, 16), bad...)}, 16)
			require.NoError(t, err)
			require.Equal(t, 1, n)
		}
		synctest.Wait()
		require.EqualValues(t, 8, b.Malformed())
		require.Empty(t, b.down)
		require.Empty(t, b.up)
	})
}

func TestRemovedLeafPassesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		defer b.finish()
		require.NoError(t, b.SetGroup("g", shaping.Limit{}))
		b.peer(alice, "g", shaping.Limit{})
		require.ErrorIs(t, b.RemoveGroup("g"), shaping.ErrGroupInUse)
		b.RemoveLeaf(alice.String())
		require.NoError(t, b.RemoveGroup("g"))
		b.Start()
		b.count()
		b.flood(10*time.Millisecond, alice)
		require.Empty(t, b.down)
		require.Empty(t, b.up)
		b.peer(alice, "", shaping.Limit{Download: 1e6, Upload: 1e6})
		b.flood(10*time.Millisecond, alice)
		require.NotEmpty(t, b.down)
		require.NotEmpty(t, b.up)
	})
}

func TestErrors(t *testing.T) {
	_, err := New(Config{})
	require.ErrorIs(t, err, ErrConfig)
	_, err = New(Config{Device: tuntest.NewChannelTUN().TUN(), Classify: func(Info) *Leaf { return nil }, MTU: 70000})
	require.ErrorIs(t, err, shaping.ErrConfig)
	b := newBench(t)
	require.ErrorIs(t, b.SetRoot(shaping.Limit{Upload: 1}), shaping.ErrRateRange)
	require.ErrorIs(t, b.SetGroup("g", shaping.Limit{Upload: 1}), shaping.ErrRateRange)
	_, err = b.SetLeaf("a", "", shaping.Limit{Upload: 1})
	require.ErrorIs(t, err, shaping.ErrRateRange)
	_, err = b.SetLeaf("a", "missing", shaping.Limit{})
	require.ErrorIs(t, err, shaping.ErrNoGroup)
	b.finish()
	require.ErrorIs(t, b.SetRoot(shaping.Limit{}), shaping.ErrClosed)
	require.ErrorIs(t, b.SetGroup("g", shaping.Limit{}), shaping.ErrClosed)
	require.ErrorIs(t, b.RemoveGroup("g"), shaping.ErrClosed)
	_, err = b.SetLeaf("a", "", shaping.Limit{})
	require.ErrorIs(t, err, shaping.ErrClosed)
}

func TestLifecycle(t *testing.T) {
	for name, run := range map[string]func(*bench){
		"close before start": func(b *bench) {},
		"close twice":        func(b *bench) { b.Start(); require.NoError(t, b.Close()) },
		"start twice":        func(b *bench) { b.Start(); b.Start() },
		"start after close":  func(b *bench) { require.NoError(t, b.Close()); b.Start() },
		"all at once": func(b *bench) {
			for range 10 {
				b.wg.Go(b.Start)
				b.wg.Go(func() { _ = b.Close() })
			}
		},
		"while Read waits": func(b *bench) {
			b.Start()
			b.wg.Go(func() { _, _ = b.Read([][]byte{make([]byte, 2000)}, make([]int, 1), 0) })
		},
		"while Output of both sides is blocked": func(b *bench) {
			b.peer(alice, "", shaping.Limit{Download: 100e6, Upload: 100e6})
			b.Start()
			b.wg.Go(func() { _, _ = b.Write([][]byte{datagram(alice, web, 1400)}, 0) }) // no one takes it
			for range readyPackets + 10 {
				select {
				case b.inner.Outbound <- datagram(web, alice, 28):
				case <-time.After(10 * time.Millisecond):
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			run(b)
			b.finish()
			_, err := b.Read([][]byte{make([]byte, 2000)}, make([]int, 1), 0)
			require.ErrorIs(t, err, os.ErrClosed)
			_, err = b.Write([][]byte{datagram(alice, web, 100)}, 0)
			require.ErrorIs(t, err, os.ErrClosed)
		})
	}
}

// faulty is a device whose Read and Write can be told to fail.
type faulty struct {
	tun.Device
	reads  chan error
	writes chan error
	closed chan struct{}
}

func (f *faulty) Read([][]byte, []int, int) (int, error) {
	select {
	case err := <-f.reads:
		return 0, err
	case <-f.closed:
		return 0, os.ErrClosed
	}
}

func (f *faulty) Write(bufs [][]byte, _ int) (int, error) {
	select {
	case err := <-f.writes:
		return 0, err
	default:
		return len(bufs), nil
	}
}

func (f *faulty) MTU() (int, error) { return 9000, nil }
func (f *faulty) BatchSize() int    { return 4 }
func (f *faulty) Close() error      { close(f.closed); return errFault }

var errFault = errors.New("fault")

func TestFaultsOfTheDevice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := &faulty{reads: make(chan error), writes: make(chan error, 1), closed: make(chan struct{})}
		var leaf *Leaf
		d, err := New(Config{Device: inner, Classify: func(Info) *Leaf { return leaf }})
		require.NoError(t, err)
		leaf, err = d.SetLeaf("a", "", shaping.Limit{Upload: 1e6})
		require.NoError(t, err)
		mtu, err := d.MTU()
		require.NoError(t, err)
		require.Equal(t, 9000, mtu)
		d.Start()
		packet := [][]byte{datagram(alice, web, 1400)}

		inner.writes <- errFault
		_, err = d.Write(packet, 0)
		require.ErrorIs(t, err, errFault, "a packet that passes at once")
		for range 5 {
			_, err = d.Write(packet, 0)
			require.NoError(t, err)
		}
		inner.writes <- errFault
		time.Sleep(100 * time.Millisecond) // one of those that waited
		n, err := d.Write(packet, 0)
		require.ErrorIs(t, err, errFault)
		require.Equal(t, 1, n)
		_, err = d.Write(packet, 0)
		require.NoError(t, err, "said once")

		inner.reads <- tun.ErrTooManySegments
		synctest.Wait()
		inner.reads <- errFault
		_, err = d.Read([][]byte{make([]byte, 2000)}, make([]int, 1), 0)
		require.ErrorIs(t, err, errFault)
		require.ErrorIs(t, d.Close(), errFault)
		require.ErrorIs(t, d.Close(), errFault)
	})
}
