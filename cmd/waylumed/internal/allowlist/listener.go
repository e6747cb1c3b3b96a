package allowlist

import (
	"net"
	"net/netip"
)

// Listener passes on the connections of a TCP listener whose other end a list has, or is this host by way of the loopback, and closes
// all others at once.
func (l *List) Listener(inner net.Listener) net.Listener { return &listener{inner, l} }

type listener struct {
	net.Listener
	list *List
}

func (l *listener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		from, ok := conn.RemoteAddr().(*net.TCPAddr)
		if !ok {
			return conn, nil
		}
		if addr := from.AddrPort().Addr(); isLoopback(addr) || l.list.Contains(addr) {
			return conn, nil
		}
		_ = conn.Close()
	}
}

func isLoopback(addr netip.Addr) bool { return addr.Unmap().IsLoopback() }
