package chaos

import (
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// chunkSize bounds how much one read passes, so that a throttle is smooth.
const chunkSize = 4 << 10

// link is one connection through the proxy.
type link struct {
	proxy  *Proxy
	client *net.TCPConn
	done   chan struct{} // closed with the connection

	mu     sync.Mutex
	server *net.TCPConn // nil until it is connected
	closed bool
	set    int   // which Set passed is counted since
	passed int64 // bytes, both ways
}

// run passes bytes until both sides have ended, or one has failed.
func (l *link) run(target string) {
	server, err := l.proxy.dial(target)
	if err != nil {
		l.end(true)
		return
	}
	l.mu.Lock()
	closed := l.closed
	if closed {
		_ = server.Close() // nobody has sent anything
	} else {
		l.server = server
	}
	l.mu.Unlock()
	if !closed {
		var both sync.WaitGroup
		both.Go(func() { l.pass(server, l.client, ToServer) })
		both.Go(func() { l.pass(l.client, server, ToClient) })
		both.Wait()
	}
	l.end(false)
}

// reset ends the connection with RST on both sides, unless it has ended.
func (l *link) reset() { l.close(true) }

func (l *link) close(reset bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return
	}
	l.closed = true
	close(l.done)
	for _, c := range []*net.TCPConn{l.client, l.server} {
		if c == nil {
			continue
		}
		if reset {
			_ = c.SetLinger(0) // where the other side has reset it, it cannot be set, and need not
		}
		_ = c.Close()
	}
}

// end closes the connection and forgets it.
func (l *link) end(reset bool) {
	l.close(reset)
	l.proxy.mu.Lock()
	defer l.proxy.mu.Unlock()
	delete(l.proxy.links, l)
}

// pass passes bytes of one direction until their end, which it passes as well.
func (l *link) pass(to, from *net.TCPConn, d Direction) {
	buffer := make([]byte, chunkSize)
	var since int64 // bytes that a Garble has counted
	for {
		n, err := from.Read(buffer)
		if n > 0 && !l.forward(to, buffer[:n], d, &since) {
			l.reset()
			return
		}
		switch {
		case err == nil:
		case !errors.Is(err, io.EOF):
			l.reset()
			return
		default:
			if !l.forward(to, nil, d, &since) || to.CloseWrite() != nil {
				l.reset()
			}
			return
		}
	}
}

// forward passes a chunk, or the end if it is empty, as the faults of the moment have it, and says whether the connection goes on.
func (l *link) forward(to *net.TCPConn, chunk []byte, d Direction, since *int64) bool {
	faults, set, _ := l.proxy.current()
	if faults.Silent && faults.in(d) {
		if len(chunk) > 0 {
			return true // dropped
		}
		return l.silence() // even that it ended is not heard
	}
	if faults.in(d) {
		wait := faults.Delay
		if faults.Rate > 0 {
			wait += time.Duration(len(chunk)) * time.Second / time.Duration(faults.Rate)
		}
		if !l.wait(wait) {
			return false
		}
		garble(chunk, faults.Garble, since)
	}
	ends := false
	if faults.Reset > 0 {
		chunk, ends = l.upToReset(chunk, faults.Reset, set)
	}
	if len(chunk) > 0 {
		if _, err := to.Write(chunk); err != nil {
			return false
		}
	}
	return !ends
}

// silence waits until the faults are others.
func (l *link) silence() bool {
	for {
		faults, _, changed := l.proxy.current()
		if !faults.Silent {
			return true
		}
		select {
		case <-changed:
		case <-l.done:
			return false
		}
	}
}

// wait waits for a time, unless the connection ends.
func (l *link) wait(d time.Duration) bool {
	if d <= 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-l.done:
		return false
	}
}

// upToReset returns what of a chunk may pass before the connection is reset, and whether it is then.
func (l *link) upToReset(chunk []byte, limit int64, set int) ([]byte, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.set != set {
		l.set, l.passed = set, 0
	}
	l.passed += int64(len(chunk))
	if over := l.passed - limit; over >= 0 {
		return chunk[:max(0, int64(len(chunk))-over)], true
	}
	return chunk, false
}

// garble flips a bit in each so many bytes.
func garble(chunk []byte, each int64, since *int64) {
	if each <= 0 {
		return
	}
	for i := range chunk {
		if *since++; *since >= each {
			*since = 0
			chunk[i] ^= 0x10
		}
	}
}
