package userspace

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"golang.org/x/net/icmp"
)

// dialHost opens the flow with the system's own sockets; a destination is an address, so no name is ever looked up.
func dialHost(ctx context.Context, flow Flow) (net.Conn, error) {
	if flow.Network == networkICMP {
		return dialPing(flow.Destination.Addr())
	}
	var d net.Dialer
	return d.DialContext(ctx, flow.Network, flow.Destination.String())
}

// pingConn is an unprivileged ping socket (icmp(7) of Linux; SOCK_DGRAM with IPPROTO_ICMP) towards one address. The
// system gives each socket an echo identifier of its own.
type pingConn struct {
	*icmp.PacketConn
	remote net.UDPAddr
}

func dialPing(addr netip.Addr) (net.Conn, error) {
	network, any := "udp4", "0.0.0.0"
	if addr.Is6() {
		network, any = "udp6", "::"
	}
	c, err := icmp.ListenPacket(network, any)
	if err != nil {
		return nil, fmt.Errorf("open a ping socket: %w", err)
	}
	return &pingConn{PacketConn: c, remote: net.UDPAddr{IP: addr.AsSlice(), Zone: addr.Zone()}}, nil
}

// Write sends one echo request.
func (c *pingConn) Write(b []byte) (int, error) { return c.WriteTo(b, &c.remote) }

// Read receives the next message from the address that the socket is for.
func (c *pingConn) Read(b []byte) (int, error) {
	for {
		n, from, err := c.ReadFrom(b)
		if err != nil {
			return n, err
		}
		if udp, ok := from.(*net.UDPAddr); ok && udp.IP.Equal(c.remote.IP) {
			return n, nil
		}
	}
}

func (c *pingConn) RemoteAddr() net.Addr { return &c.remote }

// echoLimitations says in words which families the system lets this process ping in.
func echoLimitations() []string {
	var limits []string
	for _, family := range []struct {
		name string
		addr netip.Addr
	}{{"ICMP", netip.IPv4Unspecified()}, {"ICMPv6", netip.IPv6Unspecified()}} {
		c, err := dialPing(family.addr)
		if err != nil {
			limits = append(limits, fmt.Sprintf("%s echo is dropped: this process may not open ping sockets (%v); on Linux, "+
				"have its group within the sysctl net.ipv4.ping_group_range", family.name, err))
			continue
		}
		_ = c.Close() // nothing was sent
	}
	return limits
}

// dialVerdict is what a peer is told when the host cannot be reached.
type dialVerdict int

const (
	dialSilent dialVerdict = iota
	dialRefused
	dialHostUnreachable
	dialNetUnreachable
	dialProhibited
)

// classify turns the error of a socket into what a router or the destination would have said.
func classify(err error) dialVerdict {
	switch {
	case errors.Is(err, errConnRefused):
		return dialRefused
	case errors.Is(err, errHostUnreachable):
		return dialHostUnreachable
	case errors.Is(err, errNetUnreachable):
		return dialNetUnreachable
	case errors.Is(err, errAccess), errors.Is(err, errPermission):
		return dialProhibited
	}
	return dialSilent
}
