package crash

import (
	"io"
	"math/rand/v2"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.zx2c4.com/wireguard/tun/tuntest"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/internal/testutil/datagram"
	"github.com/waylume/waylume/internal/testutil/netns"
	"github.com/waylume/waylume/quota"
	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/wgnodetest/conformance"
)

const (
	port = 51820
	// ports of a client are so many flows of the node.
	ports = 16
)

// tally is what passed of one peer, in bytes of IP packets: at the ends where it came, and where it was sent.
type tally struct{ came, sent quota.Counters }

// internet is this namespace's way out, with the far server behind it. It keeps the tallies of all peers.
type internet struct {
	wire    *os.File
	done    sync.WaitGroup
	mu      sync.Mutex
	tallies []tally // guarded by mu
}

func newInternet(t *testing.T, peers int) *internet {
	t.Helper()
	n := &internet{wire: netns.OpenTUN(t, "uplink0", wgnode.DefaultMTU, 20_000), tallies: make([]tally, peers)}
	netns.AddAddr(t, nil, "uplink0", netip.MustParsePrefix("203.0.113.1/24"))
	netns.AddRoute(t, nil, "uplink0", netip.MustParsePrefix("0.0.0.0/0"), netip.Addr{})
	n.done.Go(n.serve)
	t.Cleanup(func() {
		require.NoError(t, n.wire.Close())
		n.done.Wait()
	})
	return n
}

// serve counts the datagrams for the far server, and answers those that ask for it.
func (n *internet) serve() {
	for buf := make([]byte, 1<<16); ; {
		size, err := n.wire.Read(buf)
		if err != nil {
			return
		}
		packet := buf[:size]
		if !datagram.IsQuestion(packet) {
			continue
		}
		peer, answer, ok := datagram.Label(packet[datagram.Headers:])
		if !ok {
			continue
		}
		n.count(int(peer), func(t *tally) {
			t.came.Upload += uint64(size)
			if answer {
				t.sent.Download += uint64(size)
			}
		})
		if answer {
			datagram.Turn(packet)
			_, _ = n.wire.Write(packet) // lost like any packet
		}
	}
}

func (n *internet) count(peer int, count func(*tally)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if peer < len(n.tallies) {
		count(&n.tallies[peer])
	}
}

// look returns a copy of the tallies.
func (n *internet) look() []tally {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]tally(nil), n.tallies...)
}

// client is a peer's device, which sends as long as it is open.
type client struct {
	link io.Closer
	stop chan struct{}
	done sync.WaitGroup
}

// connect brings up the device of a peer.
func (n *internet) connect(r *rand.Rand, index int, p subject, server wgtypes.Key) (*client, error) {
	c := &client{stop: make(chan struct{})}
	wire := tuntest.NewChannelTUN()
	var err error
	c.link, err = conformance.ConnectWireGuard(wire.TUN(), wgnode.ClientConfig{
		PrivateKey: p.private, ServerKey: server, AllowedIPs: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")},
		Endpoint: netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), port).String(),
	})
	if err != nil {
		return nil, err
	}
	c.done.Go(func() {
		for {
			select {
			case packet := <-wire.Inbound:
				if datagram.IsAnswer(packet) {
					n.count(index, func(t *tally) { t.came.Download += uint64(len(packet)) })
				}
			case <-c.stop:
				return
			}
		}
	})
	c.done.Go(func() {
		pace := time.NewTicker(time.Duration(500+r.IntN(2000)) * time.Microsecond)
		defer pace.Stop()
		for i := uint16(0); ; i++ {
			packet := datagram.New(p.peer.Addrs[0], 10_000+i%ports, uint32(index), r.IntN(2) == 0,
				datagram.LabelSize+r.IntN(datagram.MaxPayload-datagram.LabelSize))
			n.count(index, func(t *tally) { t.sent.Upload += uint64(len(packet)) })
			select {
			case wire.Outbound <- packet:
			case <-c.stop:
				return
			}
			select {
			case <-pace.C:
			case <-c.stop:
				return
			}
		}
	})
	return c, nil
}

func (c *client) close() error {
	close(c.stop)
	c.done.Wait()
	return c.link.Close()
}
