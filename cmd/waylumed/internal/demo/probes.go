package demo

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/waylume/waylume/internal/packet"
	"github.com/waylume/waylume/isolation"
)

const (
	blocked = "blocked"
	reached = "reached"
	unclear = "unclear"
)

// patience is how long a probe waits for an answer: one SYN, and the one that TCP sends after a second without any.
const patience = 1600 * time.Millisecond

// probe is an attempt to reach a target that listens.
type probe struct {
	name   string
	from   *client
	source netip.Addr // zero: the client's own
	to     place
	want   string
	// target is what listens there; nil for a peer's, which is peer.
	target *site
	peer   *listener
	reason isolation.Reason // zero: the node does not count it
}

// listener is a TCP server in a client's own network stack, as an app on a phone would open it.
type listener struct {
	client *client
	net.Listener
	wg sync.WaitGroup

	mu  sync.Mutex
	saw map[netip.Addr]int // connections, by who made them
}

// listen opens a server at a client's address, and proves that it is there by visiting it from the client itself.
func (c *client) listen(ctx context.Context, addr netip.AddrPort) (*listener, error) {
	l, err := c.net.ListenTCPAddrPort(addr)
	if err != nil {
		return nil, fmt.Errorf("open a server at peer %s: %w", c.peer.Name, err)
	}
	s := &listener{client: c, Listener: l, saw: make(map[netip.Addr]int)}
	s.wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			s.saw[conn.RemoteAddr().(*net.TCPAddr).AddrPort().Addr()]++
			s.mu.Unlock()
			greet(nil, conn)
			_ = conn.Close()
		}
	})
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	conn, err := c.dialTCP(ctx, addr)
	if err != nil {
		s.close()
		return nil, err
	}
	defer conn.Close()
	if err := converse(ctx, networkTCP, conn); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (s *listener) close() {
	_ = s.Close()
	s.wg.Wait()
}

// seen is how many connections came from an address.
func (s *listener) seen(addr netip.Addr) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.saw[addr]
}

// measure makes the attempt and gathers what proves its outcome.
func (p *probe) measure(ctx context.Context, row *Probe, dropped func(context.Context) (map[string]uint64, error)) error {
	source := p.source
	if !source.IsValid() {
		source = p.from.addr(p.to.addr.Addr())
	} else {
		row.Source = source.String()
	}
	row.Name, row.From, row.Expected = p.name, p.from.peer.Name, p.want
	row.Target = p.to.addr.String() + "/" + p.to.network
	if p.target != nil {
		if err := p.target.alive(ctx); err != nil {
			return fmt.Errorf("the target does not listen: %w", err)
		}
	}
	proto := packet.TCP
	if p.to.network == networkUDP {
		proto = packet.UDP
	}
	flow := destination{proto, source, p.to.addr}
	sent, asked, saw := p.from.tap.attempts(flow), p.asked(), p.seen(source)
	before, err := dropped(ctx)
	if err != nil {
		return err
	}
	answer := p.try(ctx, source)
	row.PacketsSent = p.from.tap.attempts(flow) - sent
	row.DialsAsked, row.TargetSaw = p.asked()-asked, p.seen(source)-saw
	after, err := dropped(ctx)
	if err != nil {
		return err
	}
	if p.reason != 0 {
		row.DropReason = p.reason.String()
		row.DropsCounted = after[row.DropReason] - before[row.DropReason]
	}
	p.judge(row, answer)
	return nil
}

func (p *probe) asked() int {
	if p.target == nil {
		return 0 // a peer is not dialled
	}
	return int(p.target.asked.Load())
}

func (p *probe) seen(source netip.Addr) int {
	if p.target == nil {
		return p.peer.seen(source)
	}
	return int(p.target.visits.Load())
}

// try sends to the target and waits for its answer: nil when it came.
func (p *probe) try(ctx context.Context, source netip.Addr) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	dial := func() (net.Conn, error) { return p.from.dialUDP(source, p.to.addr) }
	if p.to.network == networkTCP {
		dial = func() (net.Conn, error) { return p.from.dialTCP(ctx, p.to.addr) }
	}
	conn, err := dial()
	if err != nil {
		return err
	}
	defer conn.Close()
	return converse(ctx, p.to.network, conn)
}

// judge says what the evidence shows, and whether that is what was expected.
func (p *probe) judge(row *Probe, answer error) {
	counted := p.reason == 0 || row.DropsCounted > 0
	switch {
	case row.PacketsSent == 0:
		row.Got, row.Evidence = unclear, "nothing left the client"
	case answer == nil && row.TargetSaw > 0:
		row.Got, row.Evidence = reached, "the server answered"
	case isTimeout(answer) && row.TargetSaw == 0 && row.DialsAsked == 0 && counted:
		row.Got, row.Evidence = blocked, "no answer; the target listens and saw nothing"
	default:
		row.Got, row.Evidence = unclear, fmt.Sprintf("answer: %v; the target saw %d, the dialer was asked %d times, dropped as %q: %d",
			answer, row.TargetSaw, row.DialsAsked, row.DropReason, row.DropsCounted)
	}
	row.expect(row.Got == row.Expected, "expected %s, got %s: %s", row.Expected, row.Got, row.Evidence)
}
