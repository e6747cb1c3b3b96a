package bench

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// BenchmarkConnections measures how many TCP connections a second a peer opens to the server, sends a byte on, gets it back, and
// closes, so many at once. The exit's bound on new flows, which is far lower, is lifted.
func BenchmarkConnections(b *testing.B) {
	for _, path := range []string{bare, stock, whole} {
		b.Run("path="+path, func(b *testing.B) {
			c := startPath(b, newSite(b), path, 1, 0)
			c.Do(b, func() error { // what remains of connections takes ports for a minute
				return errors.Join(os.WriteFile("/proc/sys/net/ipv4/ip_local_port_range", []byte("1024 65535"), 0),
					os.WriteFile("/proc/sys/net/ipv4/tcp_tw_reuse", []byte("1"), 0))
			})
			for _, n := range []int{1, 64} {
				b.Run(fmt.Sprintf("at-once=%d", n), func(b *testing.B) {
					var sum float64
					for b.Loop() {
						sum += connections(b, c, n, span())
					}
					b.ReportMetric(0, "ns/op")
					b.ReportMetric(sum/float64(b.N), "conns/s")
				})
			}
		})
	}
}

// connections has so many workers open one connection after the other, and returns how many a second that makes.
func connections(tb testing.TB, c *client, workers int, length time.Duration) float64 {
	tb.Helper()
	var made atomic.Int64
	var wg sync.WaitGroup
	errs := make(chan error, workers)
	began := time.Now()
	for range workers {
		wg.Go(func() {
			var err error
			c.Do(tb, func() error { // a worker has a thread of its own, which is in the client's namespace
				for err == nil && time.Since(began) < length {
					if err = oneConnection(c.exit.server); err == nil {
						made.Add(1)
					}
				}
				return nil
			})
			errs <- err
		})
	}
	wg.Wait()
	for range workers {
		require.NoError(tb, <-errs)
	}
	return float64(made.Load()) / time.Since(began).Seconds()
}

// oneConnection begins and ends a connection. The client closes it first, and is left with what remains of it.
func oneConnection(s *server) error {
	conn, err := net.DialTimeout("tcp4", s.bulk().String(), patience)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	head := [requestLen + 1]byte{wantOne}
	if _, err := conn.Write(head[:]); err != nil {
		return err
	}
	_, err = io.ReadFull(conn, head[:1])
	return err
}
