package userspace

import (
	"fmt"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
)

// nicID is the stack's one interface.
const nicID tcpip.NICID = 1

// defaultTTL is what packets of our own start with.
const defaultTTL = 64

// timeWait keeps the remains of a closed connection long enough for a repeated FIN of a tunnel, in place of the stack's
// minute, so that a peer cannot pile them up; finWait bounds the wait for a peer's FIN when the host's side is gone.
const (
	timeWait = 5 * time.Second
	finWait  = 30 * time.Second
)

// newStack builds a stack that owns every address: whatever a peer wants to reach ends here, and is carried on by the
// handlers.
func newStack(l *link) (*stack.Stack, error) {
	s := stack.New(stack.Options{
		// The policy decides who may reach the host's loopback; what it lets pass must not be lost as martian.
		NetworkProtocols: []stack.NetworkProtocolFactory{
			ipv4.NewProtocolWithOptions(ipv4.Options{AllowExternalLoopbackTraffic: true}),
			ipv6.NewProtocolWithOptions(ipv6.Options{AllowExternalLoopbackTraffic: true}),
		},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol, udp.NewProtocol, icmp.NewProtocol4, icmp.NewProtocol6},
	})
	if err := configureStack(s, l); err != nil {
		s.Destroy()
		return nil, err
	}
	return s, nil
}

func configureStack(s *stack.Stack, l *link) error {
	sack, cubic := tcpip.TCPSACKEnabled(true), tcpip.CongestionControlOption("cubic")
	noRACK, fixed := tcpip.TCPRecovery(0), tcpip.TCPModerateReceiveBufferOption(false)
	wait, linger := tcpip.TCPTimeWaitTimeoutOption(timeWait), tcpip.TCPLingerTimeoutOption(finWait)
	receive := tcpip.TCPReceiveBufferSizeRangeOption{Min: minTCPBuffer, Default: maxTCPBuffer, Max: maxTCPBuffer}
	send := tcpip.TCPSendBufferSizeRangeOption{Min: minTCPBuffer, Default: maxTCPBuffer, Max: maxTCPBuffer}
	for _, option := range []tcpip.SettableTransportProtocolOption{&sack, &cubic, &noRACK, &fixed, &wait, &linger, &receive, &send} {
		if err := s.SetTransportProtocolOption(tcp.ProtocolNumber, option); err != nil {
			return fmt.Errorf("set %T of the TCP stack: %s", option, err)
		}
	}
	if err := s.CreateNIC(nicID, l); err != nil {
		return fmt.Errorf("create the stack's interface: %s", err)
	}
	if err := s.SetPromiscuousMode(nicID, true); err != nil {
		return fmt.Errorf("let the stack receive for every address: %s", err)
	}
	if err := s.SetSpoofing(nicID, true); err != nil {
		return fmt.Errorf("let the stack answer from every address: %s", err)
	}
	s.SetRouteTable([]tcpip.Route{
		{Destination: header.IPv4EmptySubnet, NIC: nicID},
		{Destination: header.IPv6EmptySubnet, NIC: nicID},
	})
	return nil
}
