package bench

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// A probe measures round trips of small datagrams that an answerer sends back. What it measures is the way alone: the kernel
// notes when each datagram came to the host at either end (SO_TIMESTAMPNS, as it comes from the link, before any socket), and the
// time that the answerer and the prober took to wake up is left out. On a machine with two busy processors that would be
// most of the figure. Both ends must be on one machine, since their clocks are compared.

// datagram of a probe: times are nanoseconds of the wall clock, which is the one that the kernel's notes are of.
const (
	probeSeq     = 0  // number of the probe
	probeSent    = 8  // when the prober sent it
	probeUp      = 16 // how long it took to the answerer, by the answerer
	probeReplied = 24 // when the answerer sent it back
	probeBytes   = 32
)

// probeGrace is how long the prober waits for late answers after the last probe.
const probeGrace = time.Second

// round is what came of some probes.
type round struct {
	trips []time.Duration // of those that came back, in the order in which they did
	sent  int
}

// lossPercent is the part of the probes that did not come back in time.
func (r round) lossPercent() float64 {
	if r.sent == 0 {
		return 0
	}
	return 100 * float64(r.sent-len(r.trips)) / float64(r.sent)
}

// stampArrivals has the kernel note when datagrams come.
func stampArrivals(conn *net.UDPConn) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) { failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1) })
	return errors.Join(err, failed)
}

// stampBytes is what the control message of one arrival takes.
func stampBytes() int { return unix.CmsgSpace(binary.Size(unix.Timespec{})) }

// readStamped reads a datagram, and says when it came and from whom.
func readStamped(conn *net.UDPConn, datagram, control []byte) (n int, at int64, from netip.AddrPort, err error) {
	n, size, _, from, err := conn.ReadMsgUDPAddrPort(datagram, control)
	if err != nil {
		return 0, 0, from, err
	}
	at, err = arrival(control[:size])
	return n, at, from, err
}

// arrival reads when a datagram came from what the kernel tells with it.
func arrival(control []byte) (at int64, err error) {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return 0, fmt.Errorf("read when a datagram came: %w", err)
	}
	for _, m := range messages {
		if m.Header.Level == unix.SOL_SOCKET && m.Header.Type == unix.SO_TIMESTAMPNS && len(m.Data) >= 16 {
			seconds, nanos := binary.NativeEndian.Uint64(m.Data), binary.NativeEndian.Uint64(m.Data[8:])
			return int64(seconds)*int64(time.Second) + int64(nanos), nil
		}
	}
	return 0, errors.New("the kernel does not say when a datagram came")
}

// answerProbes sends back what comes, until the socket is closed.
func answerProbes(conn *net.UDPConn) error {
	if err := stampArrivals(conn); err != nil {
		return fmt.Errorf("answer probes: %w", err)
	}
	datagram, control := make([]byte, 2*probeBytes), make([]byte, stampBytes())
	for {
		n, at, from, err := readStamped(conn, datagram, control)
		switch {
		case errors.Is(err, net.ErrClosed):
			return nil
		case err != nil:
			return fmt.Errorf("answer probes: %w", err)
		case n != probeBytes:
			continue
		}
		p := datagram[:n]
		binary.LittleEndian.PutUint64(p[probeUp:], uint64(at)-binary.LittleEndian.Uint64(p[probeSent:]))
		binary.LittleEndian.PutUint64(p[probeReplied:], uint64(time.Now().UnixNano()))
		if _, err := conn.WriteToUDPAddrPort(p, from); err != nil && !errors.Is(err, net.ErrClosed) {
			return fmt.Errorf("answer probes: %w", err)
		}
	}
}

// sendProbes sends a probe about each interval for a time, over a connected socket, and returns what came back. It waits
// probeGrace at most for the last ones.
func sendProbes(conn *net.UDPConn, interval, length time.Duration) (round, error) {
	if err := stampArrivals(conn); err != nil {
		return round{}, fmt.Errorf("send probes: %w", err)
	}
	var r round
	var wait sync.WaitGroup
	var heard error
	trips := make(chan time.Duration, int(length/interval)+1)
	wait.Go(func() {
		defer close(trips)
		heard = hearProbes(conn, trips)
	})
	if err := conn.SetReadDeadline(time.Now().Add(length + probeGrace)); err != nil {
		return r, err
	}
	probe := make([]byte, probeBytes)
	var sent error
	for end := time.Now().Add(length); sent == nil && time.Now().Before(end) && r.sent < cap(trips); r.sent++ {
		binary.LittleEndian.PutUint64(probe[probeSeq:], uint64(r.sent))
		binary.LittleEndian.PutUint64(probe[probeSent:], uint64(time.Now().UnixNano()))
		_, sent = conn.Write(probe)
		time.Sleep(interval)
	}
	// All but those lost are back by now, unless the way is a slow one.
	for end := time.Now().Add(probeGrace); len(trips) < r.sent && time.Now().Before(end); time.Sleep(time.Millisecond) {
		continue
	}
	if err := conn.SetReadDeadline(time.Now()); err != nil {
		return r, err
	}
	wait.Wait()
	for trip := range trips {
		r.trips = append(r.trips, trip)
	}
	if err := errors.Join(sent, heard); err != nil {
		return r, fmt.Errorf("send probes: %w", err)
	}
	return r, nil
}

// hearProbes tells how long each probe that comes back was on its way, until the socket's deadline.
func hearProbes(conn *net.UDPConn, trips chan<- time.Duration) error {
	datagram, control := make([]byte, 2*probeBytes), make([]byte, stampBytes())
	seen := make(map[uint64]bool)
	for {
		n, at, _, err := readStamped(conn, datagram, control)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, net.ErrClosed):
			return nil
		case err != nil:
			return err
		case n != probeBytes:
			continue
		}
		p := datagram[:n]
		if seq := binary.LittleEndian.Uint64(p[probeSeq:]); !seen[seq] {
			seen[seq] = true
			down := at - int64(binary.LittleEndian.Uint64(p[probeReplied:]))
			trips <- time.Duration(int64(binary.LittleEndian.Uint64(p[probeUp:])) + down)
		}
	}
}
