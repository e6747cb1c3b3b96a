package shapedtun

import (
	"encoding/binary"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.zx2c4.com/wireguard/tun/tuntest"

	"github.com/waylume/waylume/shaping"
)

var (
	alice = netip.MustParseAddr("10.0.0.2")
	bob   = netip.MustParseAddr("10.0.0.3")
	web   = netip.MustParseAddr("192.0.2.1")
)

// datagram is a UDP packet of n bytes in all.
func datagram(src, dst netip.Addr, n int) []byte {
	b := make([]byte, n)
	b[0], b[8], b[9] = 0x45, 64, 17
	binary.BigEndian.PutUint16(b[2:], uint16(n))
	copy(b[12:], src.AsSlice())
	copy(b[16:], dst.AsSlice())
	binary.BigEndian.PutUint16(b[20:], 1000)
	binary.BigEndian.PutUint16(b[22:], 2000)
	binary.BigEndian.PutUint16(b[24:], uint16(n-20))
	return b
}

// bench is a shaped device around a channel TUN.
type bench struct {
	*Device
	t     *testing.T
	inner *tuntest.ChannelTUN
	mu    sync.Mutex
	peers map[netip.Addr]*Leaf
	wg    sync.WaitGroup
	down  map[netip.Addr]int // bytes read, by peer
	up    map[netip.Addr]int // bytes written, by peer
}

func newBench(t *testing.T) *bench {
	b := &bench{t: t, inner: tuntest.NewChannelTUN(), peers: map[netip.Addr]*Leaf{}, down: map[netip.Addr]int{}, up: map[netip.Addr]int{}}
	var err error
	b.Device, err = New(Config{Device: b.inner.TUN(), Classify: func(info Info) *Leaf {
		b.mu.Lock()
		defer b.mu.Unlock()
		return b.peers[info.Remote()]
	}})
	require.NoError(t, err)
	return b
}

func (b *bench) peer(addr netip.Addr, group string, limit shaping.Limit) {
	leaf, err := b.SetLeaf(addr.String(), group, limit)
	require.NoError(b.t, err)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.peers[addr] = leaf
}

// count counts what comes out on both sides, by the peer that it is to or from.
func (b *bench) count() {
	b.wg.Go(func() {
		bufs, sizes := make([][]byte, 8), make([]int, 8)
		for i := range bufs {
			bufs[i] = make([]byte, 2000)
		}
		for {
			n, err := b.Read(bufs, sizes, 16)
			if err != nil {
				return
			}
			b.mu.Lock()
			for i := range n {
				b.down[netip.AddrFrom4([4]byte(bufs[i][32:36]))] += sizes[i]
			}
			b.mu.Unlock()
		}
	})
	b.wg.Go(func() {
		for {
			select {
			case p := <-b.inner.Inbound:
				b.mu.Lock()
				b.up[netip.AddrFrom4([4]byte(p[12:16]))] += len(p)
				b.mu.Unlock()
			case <-b.closed:
				return
			}
		}
	})
}

// flood sends both ways for a time, each peer far more than its limit.
func (b *bench) flood(d time.Duration, addrs ...netip.Addr) {
	for end := time.Now().Add(d); time.Now().Before(end); {
		for _, addr := range addrs {
			for range 4 {
				b.inner.Outbound <- datagram(web, addr, 1400)
				out := append(make([]byte, 16), datagram(addr, web, 1400)...)
				n, err := b.Write([][]byte{out}, 16)
				require.NoError(b.t, err)
				require.Equal(b.t, 1, n)
			}
		}
		time.Sleep(time.Millisecond)
	}
	synctest.Wait()
}

func (b *bench) finish() {
	require.NoError(b.t, b.Close())
	b.wg.Wait()
}
