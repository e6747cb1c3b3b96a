package chaos

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"
)

// connectTimeout is how long the server may take to accept.
const connectTimeout = 10 * time.Second

// Proxy passes TCP connections on to a server, with faults. Its methods may be called from any goroutine.
type Proxy struct {
	target   string
	listener net.Listener
	ctx      context.Context // ends with Close
	cancel   context.CancelFunc
	running  sync.WaitGroup

	mu       sync.Mutex
	faults   Faults
	changed  chan struct{} // closed when faults change
	setCount int
	links    map[*link]struct{}
	accepted int
}

// New starts a proxy on a port of the loopback, which ends with the test. The server at target need not be there yet.
func New(tb testing.TB, target string) *Proxy {
	tb.Helper()
	p, err := start(target)
	if err != nil {
		tb.Fatalf("start a proxy: %v", err)
	}
	tb.Cleanup(func() {
		if err := p.Close(); err != nil {
			tb.Errorf("close the proxy: %v", err)
		}
	})
	return p
}

func start(target string) (*Proxy, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	p := &Proxy{
		target: target, listener: listener, ctx: ctx, cancel: cancel, changed: make(chan struct{}), links: make(map[*link]struct{}),
	}
	p.running.Go(p.accept)
	return p, nil
}

// Addr is where the proxy listens: HOST:PORT.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Set has these faults happen from now on, instead of those before.
func (p *Proxy) Set(f Faults) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.faults = f
	p.setCount++
	close(p.changed)
	p.changed = make(chan struct{})
}

// Sever ends all connections with RST. New ones are accepted as before.
func (p *Proxy) Sever() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.links {
		l.reset()
	}
}

// Redirect has connections that are made from now on go to another server.
func (p *Proxy) Redirect(target string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.target = target
}

// Accepted is how many connections there have been.
func (p *Proxy) Accepted() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.accepted
}

// Open is how many connections there are.
func (p *Proxy) Open() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.links)
}

// Close ends all connections and waits until nothing runs any more. To do it again is harmless.
func (p *Proxy) Close() error {
	p.cancel()
	err := p.listener.Close()
	p.Sever()
	p.running.Wait()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// current returns the faults, how many times they were set, and what is closed when they change.
func (p *Proxy) current() (Faults, int, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.faults, p.setCount, p.changed
}

func (p *Proxy) accept() {
	for {
		conn, err := p.listener.Accept()
		if err != nil {
			return // it was closed
		}
		l := &link{proxy: p, client: conn.(*net.TCPConn), done: make(chan struct{})}
		p.mu.Lock()
		p.accepted++
		closed := p.ctx.Err() != nil
		if !closed {
			p.links[l] = struct{}{}
		}
		target, faults := p.target, p.faults
		p.mu.Unlock()
		if closed || faults.Refuse {
			l.end(true)
			continue
		}
		p.running.Go(func() { l.run(target) })
	}
}

// dial connects to the server.
func (p *Proxy) dial(target string) (*net.TCPConn, error) {
	ctx, cancel := context.WithTimeout(p.ctx, connectTimeout)
	defer cancel()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", target)
	if err != nil {
		return nil, fmt.Errorf("connect to the server: %w", err)
	}
	return conn.(*net.TCPConn), nil
}
