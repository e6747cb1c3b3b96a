package conformance

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stretchr/testify/require"
	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// server is a listener somewhere, with its connections.
type server struct {
	addr netip.AddrPort
	// arrived counts connections or datagrams, payload the bytes in them.
	arrived, payload atomic.Uint64

	closer io.Closer
	done   chan struct{} // closed when the server ends
	once   sync.Once
	wg     sync.WaitGroup
	mu     sync.Mutex
	conns  map[net.Conn]bool // guarded by mu
}

func newServer(addr netip.AddrPort, closer io.Closer) *server {
	return &server{addr: addr, closer: closer, done: make(chan struct{}), conns: make(map[net.Conn]bool)}
}

// handler serves one connection until it ends.
type handler func(s *server, conn net.Conn)

// serveTCP runs a server where the world has addr. It returns nil where that address cannot exist.
func (w *world) serveTCP(addr netip.AddrPort, handle handler) *server {
	w.t.Helper()
	l, err := w.rig.ListenTCP(addr)
	if errors.Is(err, errors.ErrUnsupported) {
		return nil
	}
	require.NoError(w.t, err)
	return w.serveOn(addr, l, handle)
}

// serveOn runs a server on a listener, which may be a client's own.
func (w *world) serveOn(addr netip.AddrPort, l net.Listener, handle handler) *server {
	s := newServer(addr, l)
	s.wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			s.arrived.Add(1)
			if !s.adopt(conn) {
				_ = conn.Close()
				return
			}
			s.wg.Go(func() {
				defer s.release(conn)
				handle(s, conn)
			})
		}
	})
	w.t.Cleanup(s.close)
	return s
}

func (s *server) adopt(conn net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended() {
		return false
	}
	s.conns[conn] = true
	return true
}

func (s *server) ended() bool {
	select {
	case <-s.done:
		return true
	default:
		return false
	}
}

func (s *server) release(conn net.Conn) {
	s.mu.Lock()
	delete(s.conns, conn)
	s.mu.Unlock()
	_ = conn.Close()
}

// close ends the server with its connections.
func (s *server) close() {
	s.once.Do(func() {
		s.mu.Lock()
		close(s.done)
		for conn := range s.conns {
			_ = conn.Close()
		}
		s.mu.Unlock()
		_ = s.closer.Close()
	})
	s.wg.Wait()
}

// echo returns what comes.
func echo(_ *server, conn net.Conn) { _, _ = io.Copy(conn, conn) }

// sink counts what comes.
func sink(s *server, conn net.Conn) {
	buf := make([]byte, 1<<16)
	for {
		n, err := conn.Read(buf)
		s.payload.Add(uint64(n))
		if err != nil {
			return
		}
	}
}

// source sends without end.
func source(_ *server, conn net.Conn) {
	buf := make([]byte, 1<<16)
	for {
		if _, err := conn.Write(buf); err != nil {
			return
		}
	}
}

// serveUDP runs a datagram server where the world has addr, or returns nil where that address cannot exist. What it
// receives is counted, and answered with what reply makes of it, if that is not nil.
func (w *world) serveUDP(addr netip.AddrPort, reply func(datagram []byte) []byte) *server {
	w.t.Helper()
	conn, err := w.rig.ListenUDP(addr)
	if errors.Is(err, errors.ErrUnsupported) {
		return nil
	}
	require.NoError(w.t, err)
	return w.serveOnUDP(addr, conn, reply)
}

// serveOnUDP runs a datagram server on a socket, which may be a client's own.
func (w *world) serveOnUDP(addr netip.AddrPort, conn net.PacketConn, reply func([]byte) []byte) *server {
	s := newServer(addr, conn)
	s.wg.Go(func() {
		buf := make([]byte, 1<<16)
		for {
			n, from, err := conn.ReadFrom(buf)
			if s.ended() {
				return
			}
			if err != nil { // an ICMP error that came back: it concerns one datagram
				time.Sleep(time.Millisecond)
				continue
			}
			s.arrived.Add(1)
			s.payload.Add(uint64(n))
			if answer := reply(buf[:n]); answer != nil {
				_, _ = conn.WriteTo(answer, from) // lost like any datagram
			}
		}
	})
	w.t.Cleanup(s.close)
	return s
}

// same answers a datagram with itself.
func same(datagram []byte) []byte { return datagram }

// silent answers nothing.
func silent([]byte) []byte { return nil }

// floodUDP runs a server that, once somebody has sent it a datagram, sends him datagrams of a payload at a pace in bytes
// of inner IP packets in a second, until the test ends.
func (w *world) floodUDP(addr netip.AddrPort, payload int, pace float64) *server {
	w.t.Helper()
	conn, err := w.rig.ListenUDP(addr)
	require.NoError(w.t, err)
	s := newServer(addr, conn)
	s.wg.Go(func() {
		_, to, err := conn.ReadFrom(make([]byte, 1))
		if err != nil {
			return
		}
		datagram := make([]byte, payload)
		paced(pace, payload+headerLen(addr.Addr())+header.UDPMinimumSize, func() bool {
			_, _ = conn.WriteTo(datagram, to) // lost like any datagram
			return !s.ended()
		})
	})
	w.t.Cleanup(s.close)
	return s
}

// paced calls send as often as packets of a size make up a pace in bytes a second, until it returns false.
func paced(pace float64, size int, send func() bool) {
	const most = 20 * time.Millisecond // a sender that was held up does not make up for it all at once
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	last, credit := time.Now(), 0.0
	for now := range ticker.C {
		credit += min(now.Sub(last), most).Seconds() * pace
		for last = now; credit >= float64(size); credit -= float64(size) {
			if !send() {
				return
			}
		}
	}
}
