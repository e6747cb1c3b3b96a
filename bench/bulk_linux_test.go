package bench

import (
	"encoding/binary"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// direction is a way through the exit, as a client sees it.
type direction string

const (
	up   direction = "up"
	down direction = "down"
)

// transfer is a number of TCP connections of one client that move bytes as fast as they go, one way.
type transfer struct {
	conns []net.Conn
	bytes *atomic.Int64 // that the receiver has got
	wg    sync.WaitGroup
}

// startBulk opens connections to the exit's server, which are busy until stop.
func startBulk(tb testing.TB, c *client, d direction, streams int) *transfer {
	tb.Helper()
	id, received := c.exit.server.count()
	t := &transfer{bytes: received}
	head := binary.BigEndian.AppendUint64([]byte{wantSink}, id)
	if d == down {
		head[0] = wantSource
	}
	c.Do(tb, func() error {
		for range streams {
			conn, err := net.DialTimeout("tcp", c.exit.server.bulk().String(), patience)
			if err != nil {
				return err
			}
			t.conns = append(t.conns, conn)
			if _, err := conn.Write(head); err != nil {
				return err
			}
		}
		return nil
	})
	for _, conn := range t.conns {
		t.wg.Go(func() {
			if d == up {
				flood(conn)
			} else {
				drain(conn, t.bytes)
			}
		})
	}
	return t
}

// rate is what the receiver gets from now on, over so long, in bits of payload a second.
func (t *transfer) rate(d time.Duration) float64 {
	before, began := t.bytes.Load(), time.Now()
	time.Sleep(d)
	return 8 * float64(t.bytes.Load()-before) / time.Since(began).Seconds()
}

// stop resets the connections.
func (t *transfer) stop() {
	for _, conn := range t.conns {
		_ = conn.(*net.TCPConn).SetLinger(0) // what is under way is of no interest
		_ = conn.Close()
	}
	t.wg.Wait()
}

// rampUp is how long connections have to come up to their rate before it is measured.
const rampUp = 700 * time.Millisecond
