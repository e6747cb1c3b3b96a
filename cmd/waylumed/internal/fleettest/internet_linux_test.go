package fleettest

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/internal/testutil/netns"
)

// far is a server on the internet. It answers each datagram with one as long, in which it says from whom the question came: of a
// client behind a node, that is the node.
var far = netip.MustParseAddrPort("203.0.113.129:9000")

// Parts of a datagram: who asks, which question it is, and in an answer from where it came.
const (
	clientAt   = 0
	questionAt = 4
	fromAt     = 12
	leastSize  = 16
	mostSize   = leastSize + 999
	// headers are those of IPv4 and UDP.
	headers = 20 + 8
)

// traffic is what passed of a client, in bytes of IP packets.
type traffic struct{ download, upload int64 }

// internet is a host behind the nodes.
type internet struct {
	netns *netns.Namespace

	mu   sync.Mutex
	seen map[uint32]traffic
}

func newInternet(t *testing.T) *internet {
	t.Helper()
	n := &internet{netns: netns.New(t), seen: make(map[uint32]traffic)}
	netns.AddAddr(t, n.netns, "lo", netip.PrefixFrom(far.Addr(), far.Addr().BitLen()))
	var wire net.PacketConn
	n.netns.Do(t, func() (err error) {
		wire, err = net.ListenPacket("udp4", far.String())
		return err
	})
	var served sync.WaitGroup
	served.Go(func() { n.serve(wire) })
	t.Cleanup(func() {
		require.NoError(t, wire.Close())
		served.Wait()
	})
	return n
}

func (n *internet) serve(wire net.PacketConn) {
	for buf := make([]byte, 1<<16); ; {
		size, from, err := wire.ReadFrom(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		addr, ok := from.(*net.UDPAddr)
		if err != nil || !ok || size < leastSize {
			continue
		}
		host := addr.AddrPort().Addr().Unmap().As4()
		copy(buf[fromAt:], host[:])
		n.mu.Lock()
		seen := n.seen[binary.BigEndian.Uint32(buf[clientAt:])]
		seen.upload += int64(size + headers)
		seen.download += int64(size + headers)
		n.seen[binary.BigEndian.Uint32(buf[clientAt:])] = seen
		n.mu.Unlock()
		_, _ = wire.WriteTo(buf[:size], from) // lost like any packet
	}
}

// of is what passed of a client so far.
func (n *internet) of(client uint32) traffic {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.seen[client]
}
