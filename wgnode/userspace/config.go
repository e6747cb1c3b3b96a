package userspace

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

// Flow is one connection that a peer opens, as the dialer hook sees it.
type Flow struct {
	// Peer is the key of the peer that opens the flow.
	Peer wgtypes.Key
	// Network is "tcp", "udp" or "icmp".
	Network string
	// Source is the peer's tunnel address and port, Destination what it wants to reach. The isolation policy has already
	// allowed it. For "icmp" the source port is the echo identifier and the destination port is 0.
	Source, Destination netip.AddrPort
}

// DialFunc opens the host's side of a flow. For "tcp" the result should have CloseWrite (as *net.TCPConn has), or a
// half-close cannot be carried over; for "udp" each Write sends and each Read receives one datagram;
// for "icmp" each Write sends an echo request and each Read receives an echo reply, both from the ICMP header on. A hook
// that cannot carry a network returns an error that matches errors.ErrUnsupported, and the packet is dropped: nothing
// goes past the hook.
//
// An error that matches syscall.ECONNREFUSED becomes a reset for the peer, EHOSTUNREACH, ENETUNREACH, EACCES and EPERM an
// ICMP unreachable, and any other, a time-out included, silence. The context ends when the peer is removed, the dataplane
// closes or Limits.DialTimeout is over.
type DialFunc func(ctx context.Context, flow Flow) (net.Conn, error)

// Config configures a dataplane. The zero value is ready to use.
type Config struct {
	// Dial replaces the system's dialer, to send peers' flows through a proxy or from a chosen source address. Nil dials
	// with net.Dialer, and echo requests through unprivileged ping sockets.
	Dial DialFunc
	// Limits bounds what one peer may hold; zero fields take their defaults.
	Limits Limits
	// HostAddresses returns the host's own addresses, which are closed to peers. Nil reads the system's interfaces. It is
	// asked at Start and then every HostAddressInterval.
	HostAddresses func() ([]netip.Addr, error)
	// HostAddressInterval is 10 s when zero; at least 1 s.
	HostAddressInterval time.Duration

	systemDial bool // Dial is the system's own
	inFlight   int  // as wggo.Config.InFlight, for benchmarks
}

// Limits bounds one peer.
type Limits struct {
	// TCPFlows bounds TCP connections, those being opened included; one more is reset. Default 2,048.
	TCPFlows int
	// UDPFlows bounds UDP flows; one more ends the peer's flow that was idle longest. Default 2,048.
	UDPFlows int
	// EchoFlows bounds the ICMP echo identifiers in use at once; one more ends the one that was idle longest. Default 32.
	EchoFlows int
	// NewFlowsPerSecond bounds how fast flows of all kinds may begin; a peer that is too fast has packets dropped, which
	// its TCP repeats. NewFlowsBurst may begin at once. Defaults 500 and 1,000.
	NewFlowsPerSecond, NewFlowsBurst int
	// TrackedFlows bounds flows between this peer and others. Default 4,096.
	TrackedFlows int
	// TCPMemory bounds the bytes of TCP buffers inside the process, 1 MiB or more. The first connections get large
	// buffers, and the more there are, the smaller the next one's. Connections that have ended count for as long as the peer
	// has not acknowledged what was sent; a new one that finds no room ends the oldest of those. Default 64 MiB.
	TCPMemory int
	// DatagramMemory bounds the bytes of UDP and echo payloads that wait for the host's sockets, 64 KiB or more. Default
	// 4 MiB.
	DatagramMemory int
	// DialTimeout bounds the opening of a connection towards the host. Default 20 s.
	DialTimeout time.Duration
	// TCPIdle ends a TCP connection on which nothing moved for so long; the default, 2 h 4 min, is that of RFC 5382.
	TCPIdle time.Duration
	// UDPIdle ends a UDP flow on which nothing moved for so long. Default 2 min (RFC 4787 REQ-5).
	UDPIdle time.Duration
}

// DefaultLimits are the limits that zero fields take.
func DefaultLimits() Limits {
	return Limits{
		TCPFlows: 2048, UDPFlows: 2048, EchoFlows: 32, NewFlowsPerSecond: 500, NewFlowsBurst: 1000, TrackedFlows: 4096,
		TCPMemory: 64 << 20, DatagramMemory: 4 << 20, DialTimeout: 20 * time.Second, TCPIdle: 2*time.Hour + 4*time.Minute, UDPIdle: 2 * time.Minute,
	}
}

const (
	defaultHostAddressInterval = 10 * time.Second
	minHostAddressInterval     = time.Second
	minTCPMemory               = 1 << 20
	minDatagramMemory          = 64 << 10
)

// withDefaults fills in zero fields and reports every field that is out of range.
func (c Config) withDefaults() (Config, error) {
	var errs []error
	whole := func(name string, v *int, fallback, least int) {
		if *v == 0 {
			*v = fallback
		}
		if *v < least {
			errs = append(errs, fmt.Errorf("Limits.%s is %d: give %d or more, or 0 for %d", name, *v, least, fallback))
		}
	}
	span := func(name string, v *time.Duration, fallback, least time.Duration) {
		if *v == 0 {
			*v = fallback
		}
		if *v < least {
			errs = append(errs, fmt.Errorf("%s is %v: give %v or more, or 0 for %v", name, *v, least, fallback))
		}
	}
	l, d := &c.Limits, DefaultLimits()
	whole("TCPFlows", &l.TCPFlows, d.TCPFlows, 1)
	whole("UDPFlows", &l.UDPFlows, d.UDPFlows, 1)
	whole("EchoFlows", &l.EchoFlows, d.EchoFlows, 1)
	whole("NewFlowsPerSecond", &l.NewFlowsPerSecond, d.NewFlowsPerSecond, 1)
	whole("NewFlowsBurst", &l.NewFlowsBurst, d.NewFlowsBurst, 1)
	whole("TrackedFlows", &l.TrackedFlows, d.TrackedFlows, 1)
	whole("TCPMemory", &l.TCPMemory, d.TCPMemory, minTCPMemory)
	whole("DatagramMemory", &l.DatagramMemory, d.DatagramMemory, minDatagramMemory)
	span("Limits.DialTimeout", &l.DialTimeout, d.DialTimeout, time.Millisecond)
	span("Limits.TCPIdle", &l.TCPIdle, d.TCPIdle, time.Second)
	span("Limits.UDPIdle", &l.UDPIdle, d.UDPIdle, time.Second)
	span("HostAddressInterval", &c.HostAddressInterval, defaultHostAddressInterval, minHostAddressInterval)
	if c.HostAddresses == nil {
		c.HostAddresses = interfaceAddresses
	}
	if c.Dial == nil {
		c.Dial, c.systemDial = dialHost, true
	}
	return c, errors.Join(errs...)
}

// interfaceAddresses returns the addresses of the host's interfaces.
func interfaceAddresses() ([]netip.Addr, error) {
	found, err := net.InterfaceAddrs()
	if err != nil {
		return nil, fmt.Errorf("read the host's addresses: %w", err)
	}
	addrs := make([]netip.Addr, 0, len(found))
	for _, a := range found {
		ipnet, ok := a.(*net.IPNet)
		if !ok {
			continue
		}
		if addr, ok := netip.AddrFromSlice(ipnet.IP); ok {
			addrs = append(addrs, addr.Unmap())
		}
	}
	return addrs, nil
}
