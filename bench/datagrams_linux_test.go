package bench

import (
	"encoding/binary"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// offer sends datagrams of so many bytes of payload through the exit at a rate, for so long, and returns how many were sent, or were to be sent
// by the server, and how many arrived.
func offer(tb testing.TB, c *client, d direction, size, rate int, length time.Duration) (sent, arrived int) {
	tb.Helper()
	id, received := c.exit.server.count()
	var conn *net.UDPConn
	c.Do(tb, func() (err error) {
		addr := net.UDPAddr{IP: c.exit.server.addrs[0].AsSlice(), Port: datagramPort}
		if conn, err = net.DialUDP("udp4", nil, &addr); err != nil {
			return err
		}
		return roomy(conn)
	})
	var wg sync.WaitGroup
	defer wg.Wait()
	defer conn.Close()
	if d == up {
		datagram := binary.BigEndian.AppendUint64([]byte{datagramCounted}, id)
		sent = send(conn, nil, append(datagram, make([]byte, size-len(datagram))...), rate, length, nil)
	} else {
		wg.Go(func() { receive(conn, func([]byte, net.Addr) { received.Add(1) }) })
		question := binary.BigEndian.AppendUint64([]byte{datagramAsked}, id)
		for _, n := range []int{size, rate, int(length.Milliseconds())} {
			question = binary.BigEndian.AppendUint32(question, uint32(n))
		}
		_, err := conn.Write(question)
		require.NoError(tb, err)
		sent = int(float64(rate) * length.Seconds())
		time.Sleep(length)
	}
	return sent, settle(received)
}

// settle waits until no more comes.
func settle(received *atomic.Int64) int {
	const still = 50 * time.Millisecond
	for before := int64(-1); ; time.Sleep(still) {
		now := received.Load()
		if now == before {
			return int(now)
		}
		before = now
	}
}

// BenchmarkDatagrams measures how many datagrams a second come through of which at most one in a hundred is lost: they are
// offered at more and more each second until more than that are lost, or are not even sent.
func BenchmarkDatagrams(b *testing.B) {
	sizes := []int{64, 1390}
	if full() {
		sizes = []int{64, 512, 1390}
	}
	for _, path := range []string{bare, stock, whole} {
		b.Run("path="+path, func(b *testing.B) {
			c := startPath(b, newSite(b), path, 1, 0)
			c.exit.server.serveDatagrams(b)
			for _, size := range sizes {
				for _, d := range []direction{up, down} {
					b.Run(fmt.Sprintf("size=%d/direction=%s", size, d), func(b *testing.B) {
						var kpps, loss float64
						for b.Loop() {
							k, l := mostDatagrams(b, c, d, size)
							kpps, loss = kpps+k, loss+l
						}
						b.ReportMetric(0, "ns/op")
						b.ReportMetric(kpps/float64(b.N), "kpps")
						b.ReportMetric(loss/float64(b.N), "loss-%")
					})
				}
			}
		})
	}
}

// mostDatagrams returns the highest rate that comes through, in thousands a second, and what part of it is lost, in per cent.
func mostDatagrams(tb testing.TB, c *client, d direction, size int) (kpps, loss float64) {
	tb.Helper()
	const first, most, tolerated = 4_000, 1_000_000, 0.01
	step := span() / 8
	for rate := first; rate < most; rate += rate / 4 {
		sent, arrived := offer(tb, c, d, size, rate, step)
		lost := 1 - float64(arrived)/float64(sent)
		if short := float64(sent) < 0.9*float64(rate)*step.Seconds(); lost > tolerated || short {
			// Once more, as another's work on the machine costs as much.
			if sent, arrived = offer(tb, c, d, size, rate, step); float64(sent-arrived) > tolerated*float64(sent) || short {
				break
			}
			lost = 1 - float64(arrived)/float64(sent)
		}
		kpps, loss = float64(arrived)/step.Seconds()/1e3, 100*lost
	}
	return kpps, loss
}
