package crashtest

import (
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.zx2c4.com/wireguard/tun/tuntest"

	"github.com/waylume/waylume/internal/testutil/datagram"
	"github.com/waylume/waylume/quota"
	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/wgnodetest/conformance"
)

// tally counts what passed of one peer in one life, in bytes of IP packets, at both ends: what came cannot be more than what
// the node has counted, and that cannot be more than what was sent.
type tally struct {
	sent, arrived     atomic.Uint64 // up
	answered, receipt atomic.Uint64 // down: as sent by the server, and as received by the peer
}

// came is what has come to its end.
func (t *tally) came() quota.Counters {
	return quota.Counters{Download: t.receipt.Load(), Upload: t.arrived.Load()}
}

// went is what was sent.
func (t *tally) went() quota.Counters {
	return quota.Counters{Download: t.answered.Load(), Upload: t.sent.Load()}
}

// flows are all tallies that there were, by the label of their packets.
type flows struct {
	mu  sync.Mutex
	all []*tally // guarded by mu
}

func (f *flows) add() (flow uint32, t *tally) {
	f.mu.Lock()
	defer f.mu.Unlock()
	t = new(tally)
	f.all = append(f.all, t)
	return uint32(len(f.all) - 1), t
}

// arrive counts a packet at the far server, and whether it is answered.
func (f *flows) arrive(payload []byte) (answer bool) {
	flow, answer, ok := datagram.Label(payload)
	f.mu.Lock()
	defer f.mu.Unlock()
	if !ok || int(flow) >= len(f.all) {
		return false
	}
	size := uint64(len(payload) + datagram.Headers)
	f.all[flow].arrived.Add(size)
	if answer {
		f.all[flow].answered.Add(size)
	}
	return answer
}

// internet is the far server with all that is between it and the node.
type internet interface {
	// Settle waits until what has come to a node that is no more has arrived.
	Settle() error
	Close() error
}

// socket is the internet of package userspace: one socket of this host.
type socket struct {
	conn *net.UDPConn
	done sync.WaitGroup
}

func newSocket(f *flows) (*socket, error) {
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, err
	}
	s := &socket{conn: conn}
	s.done.Go(func() {
		for buf := make([]byte, 1<<16); ; {
			n, from, err := conn.ReadFromUDPAddrPort(buf)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err == nil && f.arrive(buf[:n]) { // else it is about a socket that is gone
				_, _ = conn.WriteToUDPAddrPort(buf[:n], from) // lost like any datagram
			}
		}
	})
	return s, nil
}

func (s *socket) Settle() error { return nil }

func (s *socket) Close() error {
	err := s.conn.Close()
	s.done.Wait()
	return err
}

// client is a peer's device, which sends as long as it is open.
type client struct {
	peer    subject
	account subject // zero: none
	tally   *tally
	link    io.Closer
	stop    chan struct{}
	done    sync.WaitGroup
	// ends is when the peer expires, as of when the client was made; zero: never.
	ends time.Time
	// moments are of every few milliseconds; only to be read when the client is closed.
	moments []moment
}

// moment is what had come at a time.
type moment struct {
	at   time.Time
	came quota.Counters
}

// cameBy is what had come at a time, or a little less.
func (c *client) cameBy(t time.Time) quota.Counters {
	i, _ := slices.BinarySearchFunc(c.moments, t, func(m moment, t time.Time) int { return m.at.Compare(t) })
	if i == 0 {
		return quota.Counters{}
	}
	return c.moments[i-1].came
}

// cameAfter is what had come at a time, or a little more.
func (c *client) cameAfter(t time.Time) quota.Counters {
	i, _ := slices.BinarySearchFunc(c.moments, t, func(m moment, t time.Time) int { return m.at.Compare(t) })
	if i == len(c.moments) {
		return c.tally.came()
	}
	return c.moments[i].came
}

// remember notes what has come, until the client is closed.
func (c *client) remember() {
	pace := time.NewTicker(5 * time.Millisecond)
	defer pace.Stop()
	for {
		came := c.tally.came()
		c.moments = append(c.moments, moment{time.Now().Round(0), came}) // by the wall clock, which processes share
		select {
		case <-pace.C:
		case <-c.stop:
			return
		}
	}
}

// firstPort is far above those of which masquerading has few to choose from, once flows of the past have taken the best.
const firstPort = 10_000

// connect brings up the device of a peer, and has it send packets of random sizes, some of which are answered.
func connect(r *rand.Rand, p *modelPeer, key keyPair, node ready, f *flows, ports uint16) (*client, error) {
	c := &client{peer: subject{Peer: key.public}, ends: p.spec.ExpiresAt, stop: make(chan struct{})}
	if p.spec.Account != "" {
		c.account = subject{Account: p.spec.Account}
	}
	from := p.addrs[0]
	var flow uint32
	flow, c.tally = f.add()
	wire := tuntest.NewChannelTUN()
	var err error
	c.link, err = conformance.ConnectWireGuard(wire.TUN(), wgnode.ClientConfig{
		PrivateKey: key.private, PresharedKey: p.spec.PresharedKey, ServerKey: node.PublicKey,
		AllowedIPs: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")},
		Endpoint:   netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), node.Port).String(),
	})
	if err != nil {
		return nil, err
	}
	c.done.Go(c.remember)
	c.done.Go(func() {
		for {
			select {
			case packet := <-wire.Inbound:
				if datagram.IsAnswer(packet) {
					c.tally.receipt.Add(uint64(len(packet)))
				}
			case <-c.stop:
				return
			}
		}
	})
	c.done.Go(func() {
		pace := time.NewTicker(microseconds(r, 2000))
		defer pace.Stop()
		for i := uint16(0); ; i++ {
			packet := datagram.New(from, firstPort+i%ports, flow, r.IntN(2) == 0, datagram.LabelSize+r.IntN(datagram.MaxPayload-datagram.LabelSize))
			c.tally.sent.Add(uint64(len(packet)))
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

// close turns the device off.
func (c *client) close() {
	close(c.stop)
	c.done.Wait()
	_ = c.link.Close()
}
