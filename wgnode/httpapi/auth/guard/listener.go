package guard

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"

	"github.com/waylume/waylume/wgnode/httpapi/auth/source"
)

// ListenerConfig bounds connections. Zero values are the defaults.
type ListenerConfig struct {
	Max          int // at a time. 0: 4,096
	MaxPerSource int // at a time of an IPv4 address, or of a /64 of IPv6. 0: 64
	// Exempt are those whom MaxPerSource does not bind: proxies, through which many come. The loopback and unix sockets are never
	// bound by it.
	Exempt []netip.Prefix
}

// ListenerStats counts connections.
type ListenerStats struct {
	Open           int    // now
	Sources        int    // that have one open, of those whom MaxPerSource binds
	Accepted       uint64 // since Listen
	RefusedTotal   uint64 // for Max
	RefusedSources uint64 // for MaxPerSource
}

// Listener closes connections beyond its bounds at once, so that those who wait in line are not held up by those who hold on.
type Listener struct {
	net.Listener
	cfg ListenerConfig

	mu    sync.Mutex
	open  map[netip.Prefix]int
	stats ListenerStats
}

// Listen bounds the connections of a listener.
func Listen(l net.Listener, cfg ListenerConfig) (*Listener, error) {
	cfg.Max, cfg.MaxPerSource = or(cfg.Max, 4096), or(cfg.MaxPerSource, 64)
	if cfg.Max < 0 || cfg.MaxPerSource < 0 {
		return nil, fmt.Errorf("at most %d connections, %d of a source: give 1 or more, or 0 for the default", cfg.Max,
			cfg.MaxPerSource)
	}
	cfg.Exempt = slices.Clone(cfg.Exempt)
	return &Listener{Listener: l, cfg: cfg, open: make(map[netip.Prefix]int)}, nil
}

// Accept implements [net.Listener].
func (l *Listener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		group, ok := l.enter(source.Of(c.RemoteAddr()))
		if ok {
			return &conn{Conn: c, leave: sync.OnceFunc(func() { l.leave(group) })}, nil
		}
		_ = c.Close() // it was nobody's
	}
}

// enter counts a connection. The group is the zero prefix if MaxPerSource does not bind it.
func (l *Listener) enter(from source.Source) (group netip.Prefix, ok bool) {
	if from.Addr.IsValid() && !from.Addr.IsLoopback() &&
		!slices.ContainsFunc(l.cfg.Exempt, func(p netip.Prefix) bool { return p.Contains(from.Addr) }) {
		group = from.Group()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.stats.Open >= l.cfg.Max:
		l.stats.RefusedTotal++
		return group, false
	case group.IsValid() && l.open[group] >= l.cfg.MaxPerSource:
		l.stats.RefusedSources++
		return group, false
	}
	l.stats.Open++
	l.stats.Accepted++
	if group.IsValid() {
		l.open[group]++
	}
	return group, true
}

func (l *Listener) leave(group netip.Prefix) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stats.Open--
	if !group.IsValid() {
		return
	}
	if l.open[group]--; l.open[group] == 0 {
		delete(l.open, group)
	}
}

// Stats returns what has been counted.
func (l *Listener) Stats() ListenerStats {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.stats
	s.Sources = len(l.open)
	return s
}

// conn is a connection that is counted.
type conn struct {
	net.Conn
	leave func()
}

// Close implements [net.Conn].
func (c *conn) Close() error {
	defer c.leave()
	return c.Conn.Close()
}

// CloseWrite has the other end read an answer to its end, though not all was read of what it sent: [net/http.Server] asks for it.
func (c *conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// NetConn is the connection that is counted.
func (c *conn) NetConn() net.Conn { return c.Conn }
