package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/waylume/waylume/shaping"
)

const (
	// datagram is the payload of the UDP measurements: with headers a packet of 1,420 bytes over IPv4, the tunnel's MTU.
	datagram = 1420 - udpHeaders
	// excess is by how much the UDP measurements send more than may pass.
	excess = 1.3
	// pingEvery is the interval of the echo datagrams.
	pingEvery = 25 * time.Millisecond
	// maxLoadedMedian and maxLoadedP95 bound the latency under load, in milliseconds. Without a queue that is kept short it
	// would be hundreds; the machine that this runs on may be busy with other things.
	maxLoadedMedian = 40
	maxLoadedP95    = 120
)

// speedTest is a peer whose limits are measured.
type speedTest struct {
	name      string
	client    *client
	account   string
	transport string
	v6        bool
	limit     shaping.Limit
	source    *site // sends
	sink      *site // receives
}

// prepare opens the servers that a test needs, at addresses of its own.
func (t *speedTest) prepare(web *internet, number byte) (err error) {
	addr := netip.AddrFrom4([4]byte{198, 51, 100, number})
	if t.v6 {
		addr = netip.MustParseAddr(fmt.Sprintf("2001:db8:51::%d", number))
	}
	at := func(port uint16) netip.AddrPort { return netip.AddrPortFrom(addr, port) }
	if t.transport == networkUDP {
		rate := uint64(excess * float64(t.limit.Download))
		t.source, err = web.serveUDP(at(8001), web.flood(rate, datagram, settle+window+300*time.Millisecond))
		if err == nil {
			t.sink, err = web.serveUDP(at(8002), ignore)
		}
		return err
	}
	t.source, err = web.serveTCP(at(8001), source)
	if err == nil {
		t.sink, err = web.serveTCP(at(8002), sink)
	}
	return err
}

func (t *speedTest) echo() netip.AddrPort {
	if t.v6 {
		return echoPlace6()
	}
	return echoPlace4()
}

// idle measures the latency of a peer that does nothing else.
func (t *speedTest) idle(ctx context.Context) (RTT, error) {
	return t.client.ping(ctx, t.echo(), 30, pingEvery)
}

// loaded is what a download's measurement gives.
type loaded struct {
	rate Rate
	rtt  RTT
	Verdict
}

// download measures how fast the peer receives, and its latency meanwhile.
func (t *speedTest) download(ctx context.Context, row *loaded) error {
	stop, err := t.receive(ctx, 1)
	if err != nil {
		return err
	}
	defer stop()
	var pinged errgroup.Group
	pings, cancel := context.WithCancel(ctx)
	defer cancel()
	pinged.Go(func() (err error) {
		if sleep(pings, settle) {
			row.rtt, err = t.client.ping(pings, t.echo(), int(window/pingEvery), pingEvery)
		}
		return err
	})
	before, after, d, err := span(ctx, settle, t.client.tap.received)
	if err = errors.Join(err, pinged.Wait()); err != nil {
		return err
	}
	got := after.since(before)
	row.rate = newRate(t.limit.Download, got.bytes, got.payload, d)
	row.within("download", row.rate, tolerance)
	row.expect(row.rtt.Lost*10 <= row.rtt.Sent, "%d of %d pings under load were lost", row.rtt.Lost, row.rtt.Sent)
	row.expect(row.rtt.MedianMS <= maxLoadedMedian, "the median RTT under load is %.1f ms, more than %d ms", row.rtt.MedianMS, maxLoadedMedian)
	row.expect(row.rtt.P95MS <= maxLoadedP95, "the 95th percentile of the RTT under load is %.1f ms, more than %d ms", row.rtt.P95MS, maxLoadedP95)
	return nil
}

// receive lets so many flows come from the source, until stop, which joins what reads them.
func (t *speedTest) receive(ctx context.Context, streams int) (stop func(), err error) {
	var wg sync.WaitGroup
	var conns []net.Conn
	stop = func() {
		for _, conn := range conns {
			_ = conn.Close()
		}
		wg.Wait()
	}
	for range streams {
		conn, err := t.open(ctx, t.source)
		if err != nil {
			stop()
			return nil, err
		}
		conns = append(conns, conn)
		wg.Go(func() { _, _ = io.Copy(io.Discard, conn) })
	}
	return stop, nil
}

// open connects to a server; a datagram tells it so.
func (t *speedTest) open(ctx context.Context, s *site) (net.Conn, error) {
	if t.transport == networkTCP {
		return t.client.dialTCP(ctx, s.addr)
	}
	conn, err := t.client.dialUDP(t.client.addr(s.addr.Addr()), s.addr)
	if err == nil {
		_, err = conn.Write([]byte("go"))
	}
	return conn, err
}

// upload measures how fast the peer sends, by what arrives at the server.
func (t *speedTest) upload(ctx context.Context, row *loaded) error {
	conn, err := t.open(ctx, t.sink)
	if err != nil {
		return err
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	defer conn.Close()
	sending, cancel := context.WithCancel(ctx)
	defer cancel()
	wg.Go(func() {
		if t.transport == networkUDP {
			pace(sending, uint64(excess*float64(t.limit.Upload)), datagram, func(b []byte) error { _, err := conn.Write(b); return err })
			return
		}
		source(nil, conn)
	})
	type reading struct {
		sent           volume
		bytes, packets uint64
	}
	before, after, d, err := span(ctx, settle, func() reading {
		return reading{t.client.tap.transmitted(), t.sink.bytes.Load(), t.sink.packets.Load()}
	})
	if err != nil {
		return err
	}
	payload := after.bytes - before.bytes
	// What arrives has no headers any more. UDP has the same on each packet; of TCP the client's packets say how much there
	// is to a byte of payload, whether a packet was sent once or twice.
	inner := payload + (after.packets-before.packets)*udpHeaders
	if t.transport == networkTCP {
		sent := after.sent.since(before.sent)
		inner = uint64(float64(payload) * float64(sent.bytes) / float64(max(1, sent.payload)))
	}
	row.rate = newRate(t.limit.Upload, inner, payload, d)
	row.within("upload", row.rate, tolerance)
	return nil
}
