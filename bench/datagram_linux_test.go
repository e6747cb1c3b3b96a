package bench

import (
	"encoding/binary"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"
)

// datagramPort is where a server takes and gives datagrams.
const datagramPort = 7001

// Beginnings of datagrams: the first byte, which the number of a count follows.
const (
	datagramCounted = 'u' // it is counted
	datagramAsked   = 'd' // it asks for datagrams: see ask
)

// askLen is the length of a question for datagrams: requestLen, and their size, their rate each second, and for how many milliseconds,
// 4 bytes each. minDatagram is the least size of datagrams.
const (
	askLen      = requestLen + 3*4
	minDatagram = askLen
)

// socketBuffer is room for bursts at either end, so that only what is between them loses anything.
const socketBuffer = 8 << 20

// roomy gives a socket buffers beyond what the system allows to everybody.
func roomy(conn *net.UDPConn) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		if failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, socketBuffer); failed == nil {
			failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, socketBuffer)
		}
	})
	if err != nil {
		return err
	}
	return failed
}

// serveDatagrams serves until the benchmark ends.
func (s *server) serveDatagrams(tb testing.TB) {
	tb.Helper()
	var conn *net.UDPConn
	s.Do(tb, func() (err error) {
		if conn, err = net.ListenUDP("udp4", &net.UDPAddr{Port: datagramPort}); err != nil {
			return err
		}
		return roomy(conn)
	})
	over := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		receive(conn, func(b []byte, from net.Addr) {
			received, ok := s.counts.Load(binary.BigEndian.Uint64(b[1:]))
			switch {
			case b[0] == datagramCounted && ok:
				received.(*atomic.Int64).Add(1)
			case b[0] == datagramAsked && len(b) >= askLen:
				number := func(i int) int { return int(binary.BigEndian.Uint32(b[requestLen+4*i:])) }
				size, rate, length := number(0), number(1), time.Duration(number(2))*time.Millisecond
				wg.Go(func() { send(conn, from, make([]byte, size), rate, length, over) })
			}
		})
	})
	tb.Cleanup(func() {
		close(over)
		require.NoError(tb, conn.Close())
		wg.Wait()
	})
}

// datagramBatch is how many datagrams a system call takes at most.
const datagramBatch = 64

// receive hands over datagrams of requestLen bytes or more until the socket is closed.
func receive(conn *net.UDPConn, handle func(b []byte, from net.Addr)) {
	messages := make([]ipv4.Message, datagramBatch)
	for i := range messages {
		messages[i].Buffers = [][]byte{make([]byte, 2048)}
	}
	for p := ipv4.NewPacketConn(conn); ; {
		n, err := p.ReadBatch(messages, 0)
		if err != nil {
			return
		}
		for _, m := range messages[:n] {
			if m.N >= requestLen {
				handle(m.Buffers[0][:m.N], m.Addr)
			}
		}
	}
}

// send sends copies of a datagram at a rate, evenly, as far as it can, and returns how many. To is nil on a connected socket.
func send(conn *net.UDPConn, to net.Addr, datagram []byte, rate int, length time.Duration, over <-chan struct{}) (sent int) {
	const pause = 500 * time.Microsecond
	messages := make([]ipv4.Message, datagramBatch)
	for i := range messages {
		messages[i].Buffers, messages[i].Addr = [][]byte{datagram}, to
	}
	p := ipv4.NewPacketConn(conn)
	for began := time.Now(); time.Since(began) < length; {
		select {
		case <-over:
			return sent
		default:
		}
		due := min(int(float64(rate)*time.Since(began).Seconds())-sent, datagramBatch)
		if due <= 0 {
			time.Sleep(pause)
			continue
		}
		n, err := p.WriteBatch(messages[:due], 0)
		if err != nil {
			continue // as a port that nobody listens on says at times
		}
		sent += n
	}
	return sent
}
