package userspace

import (
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"

	"github.com/waylume/waylume/wgnode"
)

// TestEndIsNotTheHeirs has a peer vanish before it acknowledges the end of a connection, and another get its addresses: the stack does
// not repeat that end to the other, who would be charged for it.
func TestEndIsNotTheHeirs(t *testing.T) {
	r := newRig(t, Config{Dial: onLoopback}, wgnode.State{})
	p := r.addPeer(nil)
	vanished := make(chan struct{})
	port := listen(t, func(c *net.TCPConn) {
		_, _ = io.Copy(io.Discard, c)
		<-vanished
	})
	c, err := p.DialContextTCPAddrPort(t.Context(), netip.AddrPortFrom(web4, port))
	require.NoError(t, err)
	own := c.LocalAddr().(*net.TCPAddr).AddrPort()
	ep := r.dp.stack.FindTransportEndpoint(protocolIPv4, tcp.ProtocolNumber, stack.TransportEndpointID{
		LocalAddress: tcpip.AddrFrom4(web4.As4()), LocalPort: port, RemoteAddress: tcpip.AddrFrom4(own.Addr().As4()), RemotePort: own.Port(),
	}, nicID).(*tcp.Endpoint)
	becomes := func(want tcp.EndpointState) {
		t.Helper()
		require.Eventually(t, func() bool { return ep.EndpointState() == want }, time.Minute, time.Millisecond)
	}
	becomes(tcp.StateEstablished)
	require.NoError(t, c.CloseWrite())
	becomes(tcp.StateCloseWait)
	p.device.Close()
	close(vanished)
	becomes(tcp.StateLastAck)
	h, ok := r.dp.holdings.Lookup(own.Addr())
	require.True(t, ok)
	require.Eventually(t, func() bool {
		h.mu.Lock()
		defer h.mu.Unlock()
		return len(h.tcp) == 0
	}, time.Minute, time.Millisecond)
	require.False(t, h.idle(time.Now().Add(time.Hour)), "the end of a connection is on its way")

	key, err := wgtypes.GeneratePrivateKey()
	require.NoError(t, err)
	require.NoError(t, r.dp.Apply(t.Context(), wgnode.Change{
		RemovePeers: []wgtypes.Key{p.state.PublicKey},
		SetPeers:    []wgnode.PeerState{{PublicKey: key.PublicKey(), Addrs: p.state.Addrs}},
	}))
	require.True(t, ended(ep), "it is %v", ep.EndpointState())
	require.True(t, h.idle(time.Now().Add(time.Hour)))
}

// TestEndedAreLetGo: what a peer has on the way to its end does not grow with the connections that it had.
func TestEndedAreLetGo(t *testing.T) {
	var c closing
	const buffer = 3
	var live []*endpointInState
	freed := 0
	for i := range 10_000 {
		ep := &endpointInState{state: tcp.StateTimeWait}
		if i%1000 == 0 {
			ep.state = tcp.StateLastAck
			live = append(live, ep)
		}
		freed += c.add(ep, buffer)
		require.LessOrEqual(t, len(c.waiting), max(2*len(live), minClosing)+1)
	}
	freed += c.letGo()
	require.Len(t, c.waiting, len(live))
	require.Equal(t, (10_000-len(live))*buffer, freed)
	c.abort()
	for _, ep := range live {
		require.Equal(t, 1, ep.aborted)
	}
	require.Empty(t, c.waiting)
}

// TestEndsHoldMemory: what the stack has yet to bring to a peer counts against the peer's memory, and a connection that finds no room
// ends those that have waited longest, and no more than it must.
func TestEndsHoldMemory(t *testing.T) {
	limits := DefaultLimits()
	limits.TCPMemory = minTCPMemory
	h := newHoldings(wgtypes.Key{}, limits)
	var waiting []*endpointInState
	for n := 0; ; n++ {
		before := h.memory
		f, err := h.addTCP(stack.TransportEndpointID{RemotePort: uint16(n)})
		require.NoError(t, err)
		first := len(waiting) > 0 && waiting[0].aborted > 0
		ep := &endpointInState{state: tcp.StateLastAck}
		require.True(t, f.attach(ep, nil))
		h.removeTCP(f)
		if first {
			break
		}
		require.Equal(t, before-f.buffer, h.memory, "its buffer towards the peer is taken yet")
		waiting = append(waiting, ep)
		require.Less(t, n, 2*minTCPMemory/minTCPBuffer)
	}
	require.Greater(t, len(waiting), minClosing)
	for _, ep := range waiting[1:] {
		require.Zero(t, ep.aborted, "there was room after the first")
	}
	for _, e := range h.closing.waiting {
		e.Endpoint.(*endpointInState).state = tcp.StateClose
	}
	require.True(t, h.idle(time.Now().Add(time.Hour)))
	require.Equal(t, minTCPMemory, h.memory, "all of it is free again")
}

// endpointInState is one of which only that is known.
type endpointInState struct {
	tcpip.Endpoint
	state   tcp.EndpointState
	aborted int
}

func (e *endpointInState) State() uint32 { return uint32(e.state) }
func (e *endpointInState) Abort()        { e.aborted++ }

// Read says what the stack does once it has told the other direction why a connection is no more.
func (e *endpointInState) Read(io.Writer, tcpip.ReadOptions) (tcpip.ReadResult, tcpip.Error) {
	return tcpip.ReadResult{}, &tcpip.ErrClosedForReceive{}
}
