package userspace

import (
	"errors"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/wgnode"
)

func TestNewNamesEveryProblem(t *testing.T) {
	_, err := New(Config{
		HostAddressInterval: time.Millisecond,
		Limits:              Limits{TCPFlows: -1, UDPFlows: -1, TCPMemory: 5, DialTimeout: -1, NewFlowsBurst: -3},
	})
	for _, field := range []string{"HostAddressInterval", "TCPFlows", "UDPFlows", "TCPMemory", "DialTimeout", "NewFlowsBurst"} {
		require.ErrorContains(t, err, field)
	}
	dp, err := New(Config{})
	require.NoError(t, err)
	require.Equal(t, DefaultLimits(), dp.cfg.Limits)
	require.NoError(t, dp.Close())
}

func TestStartFailsWithoutHostAddresses(t *testing.T) {
	broken := errors.New("no interfaces today")
	dp, err := New(Config{HostAddresses: func() ([]netip.Addr, error) { return nil, broken }})
	require.NoError(t, err)
	r := &rig{t: t}
	_, err = dp.Start(t.Context(), r.config(), wgnode.State{})
	require.ErrorIs(t, err, broken, "what is not known to be closed must not be open")
	_, err = dp.Start(t.Context(), r.config(), wgnode.State{})
	require.ErrorIs(t, err, wgnode.ErrClosed)
}

func TestHostAddressesAreFollowed(t *testing.T) {
	var addrs atomic.Pointer[[]netip.Addr]
	addrs.Store(&[]netip.Addr{})
	r := newRig(t, Config{
		Dial: onLoopback, HostAddresses: func() ([]netip.Addr, error) { return *addrs.Load(), nil }, HostAddressInterval: time.Second,
	}, wgnode.State{})
	p, port := r.addPeer(nil), echoUDP(t)
	c, err := p.DialUDPAddrPort(netip.AddrPort{}, netip.AddrPortFrom(web4, port))
	require.NoError(t, err)
	defer c.Close()
	require.Equal(t, "ping", string(exchange(t, c, []byte("ping"))))
	addrs.Store(&[]netip.Addr{web4}) // the host has got the address
	require.Eventually(t, func() bool {
		_, err := c.Write([]byte("ping"))
		require.NoError(t, err)
		stats, err := r.dp.Stats(t.Context(), wgnode.StatsQuery{})
		return err == nil && stats.Dropped["host"] > 0
	}, 20*time.Second, 50*time.Millisecond)
}

func TestIdleConnectionsEnd(t *testing.T) {
	r := newRig(t, Config{Dial: onLoopback}, wgnode.State{})
	p := r.addPeer(nil)
	ended := make(chan struct{})
	port := listen(t, func(c *net.TCPConn) {
		_, _ = c.Write([]byte("x"))
		_, _ = c.Read(make([]byte, 1))
		close(ended)
	})
	c, err := p.DialContextTCPAddrPort(t.Context(), netip.AddrPortFrom(web4, port))
	require.NoError(t, err)
	defer c.Close()
	_, err = c.Read(make([]byte, 1))
	require.NoError(t, err)
	h, ok := r.dp.holdings.Lookup(p.state.Addrs[0])
	require.True(t, ok)
	h.sweep(time.Now().Add(time.Hour))
	select {
	case <-ended:
		t.Fatal("ended before its time")
	case <-time.After(50 * time.Millisecond):
	}
	h.sweep(time.Now().Add(3 * time.Hour))
	<-ended
	_, err = c.Read(make([]byte, 1))
	require.ErrorContains(t, err, "reset")
}
