package bench

import (
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestQuantile(t *testing.T) {
	require.Zero(t, quantile([]float64{}, 0.5))
	values := []time.Duration{30, 10, 20, 40}
	require.EqualValues(t, 20, quantile(values, 0.5))
	require.EqualValues(t, 40, quantile(values, 0.99))
	require.EqualValues(t, 40, quantile(values, 1))
	require.EqualValues(t, 10, quantile(values, 0))
	var hundred []float64
	for i := range 100 {
		hundred = append(hundred, float64(100-i))
	}
	require.InDelta(t, 99, quantile(hundred, 0.99), 1e-12)
}

func TestJain(t *testing.T) {
	require.InDelta(t, 1, jain([]float64{3, 3, 3}), 1e-12)
	require.InDelta(t, 0.25, jain([]float64{8, 0, 0, 0}), 1e-12)
	require.InDelta(t, 9.0/10, jain([]float64{1, 2}), 1e-12) // 9 of 2*5
	require.Zero(t, jain(nil))
	require.Zero(t, jain([]float64{0, 0}))
}

func TestSeries(t *testing.T) {
	start := time.Unix(1000, 0)
	at := func(ms int, bytes uint64) reading {
		return reading{start.Add(time.Duration(ms) * time.Millisecond), bytes}
	}
	s := series{at(0, 0), at(100, 0), at(200, 3000), at(300, 4000), at(400, 5000)}.begin()
	require.Equal(t, series{at(100, 0), at(200, 3000), at(300, 4000), at(400, 5000)}, s)
	require.InDelta(t, 5000*8/0.3, s.rate(0), 1e-6)
	require.InDelta(t, 80_000, s.rate(100*time.Millisecond), 1e-6)
	require.InDelta(t, 80_000, s.rate(150*time.Millisecond), 1e-6)
	require.Zero(t, s.rate(time.Second))
	require.InDelta(t, 100*4000*8/(80_000*0.2), s.part(200*time.Millisecond, 80_000), 1e-6)
	require.Zero(t, s.part(time.Second, 80_000))
	require.InDelta(t, 2000, s.excess(80_000, time.Second), 1e-6)
	require.InDelta(t, 0, s.excess(80_000, 0), 1e-6)
	require.Equal(t, series{at(0, 5), at(100, 9)}, sum([]series{{at(0, 2), at(100, 3)}, {at(0, 3), at(100, 6)}}))
	require.Nil(t, series{at(0, 7), at(100, 7)}.begin())
	require.InDelta(t, -2, errorPercent(98, 100), 1e-9)
}

// TestMeter: the readings rise with the counter, and the last is what it came to.
func TestMeter(t *testing.T) {
	var n uint64
	m := follow(func() []uint64 {
		n += 100
		return []uint64{n, 2 * n}
	})
	time.Sleep(3*meterWindow + meterWindow/2)
	all := m.end()
	require.Len(t, all, 2)
	require.GreaterOrEqual(t, len(all[0]), 3)
	require.Equal(t, n, all[0][len(all[0])-1].bytes)
	require.Equal(t, 2*n, all[1][len(all[1])-1].bytes)
}

// probePair returns an answerer's socket and one that is connected to it by way of between, if that is not nil: it passes each
// datagram on as it likes.
func probePair(t *testing.T, between func(forward func([]byte), datagram []byte)) *net.UDPConn {
	t.Helper()
	loopback := net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:0"))
	server, err := net.ListenUDP("udp", loopback)
	require.NoError(t, err)
	var wait sync.WaitGroup
	wait.Go(func() {
		if err := answerProbes(server); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(wait.Wait)
	t.Cleanup(func() { _ = server.Close() })
	to := server.LocalAddr().(*net.UDPAddr)
	if between != nil {
		relay, err := net.ListenUDP("udp", loopback)
		require.NoError(t, err)
		t.Cleanup(func() { _ = relay.Close() })
		answerer := to.AddrPort()
		wait.Go(func() { passOn(relay, answerer, between) })
		to = relay.LocalAddr().(*net.UDPAddr)
	}
	conn, err := net.DialUDP("udp", nil, to)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// passOn relays datagrams to a server, by way of between, and its answers to whoever asked last.
func passOn(relay *net.UDPConn, server netip.AddrPort, between func(func([]byte), []byte)) {
	var client netip.AddrPort
	buf := make([]byte, 2*probeBytes)
	for {
		n, from, err := relay.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		to := client
		if from != server {
			client, to = from, server
		}
		forward := func(b []byte) { _, _ = relay.WriteToUDPAddrPort(b, to) } // lost like any datagram
		if from == server {
			forward(buf[:n])
			continue
		}
		between(forward, buf[:n])
	}
}

// TestProbe: each probe comes back, and no way takes no time or as long as the whole test.
func TestProbe(t *testing.T) {
	r, err := sendProbes(probePair(t, nil), time.Millisecond, 100*time.Millisecond)
	require.NoError(t, err)
	require.Positive(t, r.sent)
	require.Len(t, r.trips, r.sent)
	require.Zero(t, r.lossPercent())
	for _, trip := range r.trips {
		require.Positive(t, trip)
		require.Less(t, trip, time.Second)
	}
}

// TestProbeOfBadWay: what the way adds is measured, what it loses is lost, and what it doubles counts once.
func TestProbeOfBadWay(t *testing.T) {
	const delay = 20 * time.Millisecond
	n := 0
	conn := probePair(t, func(forward func([]byte), datagram []byte) {
		n++
		switch n % 4 {
		case 0: // lost
		case 1:
			forward(datagram)
			forward(datagram)
		default:
			time.Sleep(delay)
			forward(datagram)
		}
	})
	r, err := sendProbes(conn, 50*time.Millisecond, time.Second)
	require.NoError(t, err)
	require.Len(t, r.trips, r.sent-r.sent/4)
	require.InDelta(t, 25, r.lossPercent(), 6)
	slow := 0
	for _, trip := range r.trips {
		if trip >= delay {
			slow++
		}
	}
	require.GreaterOrEqual(t, slow, r.sent/2-1)
	require.GreaterOrEqual(t, quantile(r.trips, 0.99), delay)
}
