package userspace_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"testing"

	"golang.zx2c4.com/wireguard/tun"

	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/userspace"
	"github.com/waylume/waylume/wgnode/wgnodetest/conformance"
)

func TestConformance(t *testing.T) {
	conformance.TestDataplane(t, conformance.Harness{Rig: func(*testing.T) conformance.Rig { return newRig() }})
}

// place is where a flow goes, as the peer sees it.
type place struct {
	network string
	addr    netip.AddrPort
}

// rig has every address that peers try to reach stand for a listener on the loopback, by way of the dialer hook. What the
// dataplane does not let out never comes to the hook.
type rig struct {
	mu     sync.Mutex
	places map[place]string    // guarded by mu: addresses on the loopback
	echo   map[netip.Addr]bool // guarded by mu
}

var (
	_ conformance.Rig             = (*rig)(nil)
	_ conformance.EchoRig         = (*rig)(nil)
	_ conformance.HostRig         = (*rig)(nil)
	_ conformance.ObstructableRig = (*rig)(nil)
)

func newRig() *rig {
	return &rig{places: make(map[place]string), echo: make(map[netip.Addr]bool)}
}

func (r *rig) Dataplane() (wgnode.Dataplane, error) {
	return userspace.New(userspace.Config{
		Dial:          r.dial,
		HostAddresses: func() ([]netip.Addr, error) { return r.HostAddrs(), nil },
	})
}

// dial connects a flow to the listener that stands for its destination. Any other destination refuses.
func (r *rig) dial(ctx context.Context, flow userspace.Flow) (net.Conn, error) {
	r.mu.Lock()
	real, ok := r.places[place{flow.Network, flow.Destination}]
	answers := flow.Network == "icmp" && r.echo[flow.Destination.Addr()]
	r.mu.Unlock()
	switch {
	case answers:
		return newEcho(), nil
	case !ok:
		return nil, &net.OpError{Op: "dial", Net: flow.Network, Err: syscall.ECONNREFUSED}
	}
	var d net.Dialer
	return d.DialContext(ctx, flow.Network, real)
}

// newEcho returns a connection on which whatever is asked is answered.
func newEcho() net.Conn {
	ours, theirs := net.Pipe()
	go func() {
		defer ours.Close()
		message := make([]byte, 1<<16)
		for {
			n, err := ours.Read(message)
			if err != nil {
				return
			}
			const echo4, reply4, echo6, reply6 = 8, 0, 128, 129
			switch message[0] {
			case echo4:
				message[0] = reply4
			case echo6:
				message[0] = reply6
			default:
				continue
			}
			if _, err := ours.Write(message[:n]); err != nil {
				return
			}
		}
	}()
	return theirs
}

func (r *rig) Connect(dev tun.Device, cfg wgnode.ClientConfig) (io.Closer, error) {
	return conformance.ConnectWireGuard(dev, cfg)
}

func (r *rig) ListenTCP(addr netip.AddrPort) (net.Listener, error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err == nil {
		r.put(place{"tcp", addr}, l.Addr())
	}
	return l, err
}

func (r *rig) ListenUDP(addr netip.AddrPort) (net.PacketConn, error) {
	l, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err == nil {
		r.put(place{"udp", addr}, l.LocalAddr())
	}
	return l, err
}

func (r *rig) put(p place, real net.Addr) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.places[p] = real.String()
}

func (r *rig) AnswerEcho(addr netip.Addr) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.echo[addr] = true
	return nil
}

func (r *rig) HostAddrs() []netip.Addr {
	return []netip.Addr{netip.MustParseAddr("203.0.113.7"), netip.MustParseAddr("2001:db8:7::7")}
}

// Obstruct has somebody else listen on the port.
func (r *rig) Obstruct(cfg *wgnode.DataplaneConfig) (release func(), err error) {
	l, err := net.ListenUDP("udp", &net.UDPAddr{Port: int(cfg.ListenPort)})
	if err != nil {
		return nil, errors.Join(errors.New("take the port"), err)
	}
	return func() { _ = l.Close() }, nil
}

func (r *rig) Close() error { return nil }
