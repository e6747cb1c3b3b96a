package bench

import (
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/internal/testutil/netns"
)

// Ports of a server.
const (
	bulkPort = 7000
	chunk    = 256 << 10
)

// What a connection to the bulk port is for: its first byte, which the number of its count follows.
const (
	wantSink   = 'u' // all that comes is counted
	wantSource = 'd' // zeros come until the connection ends
	wantOne    = 'o' // the byte that follows comes back
)

// requestLen is the length of what begins a connection.
const requestLen = 1 + 8

// server is the far end of measurements: the benchmark's own goroutines with sockets in a namespace.
type server struct {
	*netns.Namespace
	addrs []netip.Addr // one of each family

	wg     sync.WaitGroup
	last   atomic.Uint64
	counts sync.Map // uint64 -> *atomic.Int64, bytes received
}

// newServer serves on all addresses of a namespace, until the benchmark ends.
func newServer(tb testing.TB, n *netns.Namespace, addrs ...netip.Addr) *server {
	tb.Helper()
	s := &server{Namespace: n, addrs: addrs}
	var l *net.TCPListener
	n.Do(tb, func() (err error) {
		l, err = net.ListenTCP("tcp", &net.TCPAddr{Port: bulkPort})
		return err
	})
	var mu sync.Mutex
	open := make(map[net.Conn]struct{})
	s.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open[c] = struct{}{}
			mu.Unlock()
			s.wg.Go(func() {
				s.serve(c)
				mu.Lock()
				delete(open, c)
				mu.Unlock()
				_ = c.Close()
			})
		}
	})
	tb.Cleanup(func() {
		require.NoError(tb, l.Close())
		mu.Lock()
		for c := range open {
			_ = c.Close()
		}
		mu.Unlock()
		s.wg.Wait()
	})
	return s
}

// bulk is where the server takes and gives bytes by IPv4.
func (s *server) bulk() netip.AddrPort { return netip.AddrPortFrom(s.addrs[0], bulkPort) }

// count makes a count of bytes, for connections to name.
func (s *server) count() (id uint64, received *atomic.Int64) {
	id, received = s.last.Add(1), new(atomic.Int64)
	s.counts.Store(id, received)
	return id, received
}

func (s *server) serve(c net.Conn) {
	var head [requestLen]byte
	if _, err := io.ReadFull(c, head[:]); err != nil {
		return
	}
	received, ok := s.counts.Load(binary.BigEndian.Uint64(head[1:]))
	switch {
	case head[0] == wantSink && ok:
		drain(c, received.(*atomic.Int64))
	case head[0] == wantSource:
		flood(c)
	case head[0] == wantOne:
		_, _ = io.CopyN(c, c, 1)
		_, _ = io.Copy(io.Discard, c) // until the client closes it
	}
}

// drain counts what comes.
func drain(c net.Conn, received *atomic.Int64) {
	for buf := make([]byte, chunk); ; {
		n, err := c.Read(buf)
		received.Add(int64(n))
		if err != nil {
			return
		}
	}
}

// flood writes until the connection ends.
func flood(c net.Conn) {
	for buf := make([]byte, chunk); ; {
		if _, err := c.Write(buf); err != nil {
			return
		}
	}
}
