package userspace

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/waiter"

	"github.com/waylume/waylume/wgnode"
)

func TestTCPCarriesBothWays(t *testing.T) {
	r := newRig(t, Config{Dial: onLoopback}, wgnode.State{})
	p := r.addPeer(nil)
	port := listen(t, func(c *net.TCPConn) {
		_, _ = io.Copy(c, c)
		_ = c.CloseWrite()
	})
	const size = 3<<20 + 17
	for _, addr := range []netip.Addr{web4, web6} {
		t.Run(addr.String(), func(t *testing.T) {
			c, err := p.DialContextTCPAddrPort(t.Context(), netip.AddrPortFrom(addr, port))
			require.NoError(t, err)
			defer c.Close()
			sent := make([]byte, size)
			_, _ = rand.NewChaCha8([32]byte{1}).Read(sent)
			written := make(chan error, 1)
			go func() {
				_, err := c.Write(sent)
				written <- errors.Join(err, c.CloseWrite())
			}()
			got, err := io.ReadAll(c)
			require.NoError(t, err)
			require.NoError(t, <-written)
			require.Equal(t, sha256.Sum256(sent), sha256.Sum256(got), "%d of %d bytes came back", len(got), len(sent))
		})
	}
	stats, err := r.dp.Stats(t.Context(), wgnode.StatsQuery{All: true, Device: true})
	require.NoError(t, err)
	require.Len(t, stats.Peers, 1)
	require.Greater(t, stats.Peers[0].Counters.Upload, uint64(2*size))
	require.Greater(t, stats.Peers[0].Counters.Download, uint64(2*size))
	require.WithinDuration(t, time.Now(), stats.Peers[0].LastHandshake, time.Minute)
	require.True(t, stats.Peers[0].Endpoint.Addr().IsLoopback())
}

func TestTCPHalfClose(t *testing.T) {
	r := newRig(t, Config{Dial: onLoopback}, wgnode.State{})
	p := r.addPeer(nil)
	port := listen(t, func(c *net.TCPConn) {
		request, err := io.ReadAll(c) // ends only with the peer's half-close
		if err == nil {
			_, _ = fmt.Fprintf(c, "%d bytes", len(request))
		}
	})
	c, err := p.DialContextTCPAddrPort(t.Context(), netip.AddrPortFrom(web4, port))
	require.NoError(t, err)
	defer c.Close()
	_, err = c.Write([]byte("request"))
	require.NoError(t, err)
	require.NoError(t, c.CloseWrite())
	answer, err := io.ReadAll(c)
	require.NoError(t, err)
	require.Equal(t, "7 bytes", string(answer))
}

func TestTCPRefusedUnreachableSilent(t *testing.T) {
	for _, tt := range []struct {
		name string
		err  error
		want string // part of what the client is told; empty for silence
	}{
		{"refused", errConnRefused, "refused"},
		{"host unreachable", errHostUnreachable, "route"},
		{"network unreachable", errNetUnreachable, "unreachable"},
		{"prohibited", errAccess, "route"},
		{"timed out", context.DeadlineExceeded, ""},
	} {
		for _, addr := range []netip.Addr{web4, web6} {
			if addr == web6 && tt.want == "route" {
				continue // the client's own stack makes nothing of these two codes; TestUnreachableIsSound looks at them
			}
			t.Run(tt.name+" "+addr.String(), func(t *testing.T) {
				r := newRig(t, Config{Dial: func(context.Context, Flow) (net.Conn, error) {
					return nil, &net.OpError{Op: "dial", Err: tt.err}
				}}, wgnode.State{})
				p := r.addPeer(nil)
				wait := 10 * time.Second
				if tt.want == "" {
					wait = 500 * time.Millisecond
				}
				ctx, cancel := context.WithTimeout(t.Context(), wait)
				defer cancel()
				_, err := p.DialContextTCPAddrPort(ctx, netip.AddrPortFrom(addr, 80))
				require.Error(t, err)
				if tt.want == "" {
					require.ErrorIs(t, err, context.DeadlineExceeded)
					return
				}
				require.Contains(t, err.Error(), tt.want)
			})
		}
	}
}

func TestTCPHandshakeWaitsForTheHost(t *testing.T) {
	dialed, release := make(chan Flow, 1), make(chan struct{})
	r := newRig(t, Config{Dial: func(ctx context.Context, flow Flow) (net.Conn, error) {
		dialed <- flow
		<-release
		return onLoopback(ctx, flow)
	}}, wgnode.State{})
	p := r.addPeer(nil)
	port := listen(t, func(c *net.TCPConn) { _, _ = c.Write([]byte("hello")) })
	connected := make(chan error, 1)
	go func() {
		c, err := p.DialContextTCPAddrPort(t.Context(), netip.AddrPortFrom(web4, port))
		if err == nil {
			_, err = io.ReadAll(c)
			err = errors.Join(err, c.Close())
		}
		connected <- err
	}()
	flow := <-dialed
	require.Equal(t, p.state.PublicKey, flow.Peer)
	require.Equal(t, netip.AddrPortFrom(web4, port), flow.Destination)
	require.Equal(t, p.state.Addrs[0], flow.Source.Addr())
	select {
	case err := <-connected:
		t.Fatalf("connected before the host was: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	close(release)
	require.NoError(t, <-connected)
}

func TestTCPResetCrosses(t *testing.T) {
	r := newRig(t, Config{Dial: onLoopback}, wgnode.State{})
	p := r.addPeer(nil)
	t.Run("from the host", func(t *testing.T) {
		port := listen(t, func(c *net.TCPConn) {
			_, _ = c.Read(make([]byte, 1))
			_ = c.SetLinger(0)
		})
		c, err := p.DialContextTCPAddrPort(t.Context(), netip.AddrPortFrom(web4, port))
		require.NoError(t, err)
		defer c.Close()
		_, err = c.Write([]byte("x"))
		require.NoError(t, err)
		_, err = io.ReadAll(c)
		require.ErrorContains(t, err, "reset")
	})
	t.Run("from the peer", func(t *testing.T) {
		got := make(chan error, 1)
		port := listen(t, func(c *net.TCPConn) {
			_, _ = c.Write([]byte("x"))
			_, err := io.Copy(io.Discard, c)
			got <- err
		})
		c, err := p.DialContextTCPAddrPort(t.Context(), netip.AddrPortFrom(web4, port))
		require.NoError(t, err)
		_, err = io.ReadFull(c, make([]byte, 1))
		require.NoError(t, err)
		// The peer vanishes: what it held is reset.
		require.NoError(t, r.dp.Apply(t.Context(), wgnode.Change{RemovePeers: []wgKey{p.state.PublicKey}}))
		require.ErrorIs(t, <-got, syscall.ECONNRESET)
		_ = c.Close()
	})
}

// TestTCPResetIsNoEnd: of a connection that is reset while the peer is sent to, the host does not see the end of what the peer has sent,
// as if that were all.
func TestTCPResetIsNoEnd(t *testing.T) {
	r := newRig(t, Config{Dial: onLoopback}, wgnode.State{})
	p := r.addPeer(nil)
	full, got := make(chan struct{}), make(chan error)
	port := listen(t, func(c *net.TCPConn) {
		// It sends until all is full on the way to the peer, and nothing then, or it would be the sender who is told of the reset.
		_ = c.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
		_, _ = io.Copy(c, endless{})
		full <- struct{}{}
		_, err := io.Copy(io.Discard, c)
		got <- err
	})
	for range 40 {
		c, err := p.DialContextTCPAddrPort(t.Context(), netip.AddrPortFrom(web4, port))
		require.NoError(t, err)
		<-full
		_, err = io.ReadFull(c, make([]byte, 1))
		require.NoError(t, err)
		_ = c.Close() // with data that nobody has read: a reset (RFC 2525 section 2.17)
		require.ErrorIs(t, <-got, syscall.ECONNRESET)
	}
}

// TestResetIsToldOnce: it is no end of what the peer sends, either, if the direction to the peer was told of the reset.
func TestResetIsToldOnce(t *testing.T) {
	for name, c := range map[string]struct {
		state   tcp.EndpointState
		aborted bool
		ends    int
	}{
		"the peer's end":           {state: tcp.StateCloseWait, ends: 1},
		"reset by the peer":        {state: tcp.StateError},
		"reset, and closed by now": {state: tcp.StateClose, aborted: true},
	} {
		host := &halfHost{}
		f := &tcpFlow{aborted: c.aborted}
		err := toHost(f, &endpointInState{state: c.state}, new(waiter.Queue), host, new(buffers))
		require.Equal(t, c.ends, host.ends, name)
		if c.ends > 0 {
			require.NoError(t, err, name)
		} else {
			require.ErrorIs(t, err, errReset, name)
		}
	}
}

// halfHost counts how often it is told of an end.
type halfHost struct {
	net.Conn
	ends int
}

func (h *halfHost) CloseWrite() error {
	h.ends++
	return nil
}

func TestTCPFlowLimit(t *testing.T) {
	r := newRig(t, Config{Dial: onLoopback, Limits: Limits{TCPFlows: 3}}, wgnode.State{})
	p, neighbour := r.addPeer(nil), r.addPeer(nil)
	port := listen(t, func(c *net.TCPConn) { _, _ = io.Copy(c, c) })
	to := netip.AddrPortFrom(web4, port)
	var open []net.Conn
	for range 3 {
		c, err := p.DialContextTCPAddrPort(t.Context(), to)
		require.NoError(t, err)
		open = append(open, c)
	}
	_, err := p.DialContextTCPAddrPort(t.Context(), to)
	require.ErrorContains(t, err, "refused", "the fourth connection")
	c, err := neighbour.DialContextTCPAddrPort(t.Context(), to)
	require.NoError(t, err, "a neighbour has its own bound")
	require.NoError(t, c.Close())

	for _, c := range open {
		require.NoError(t, c.Close())
	}
	require.Eventually(t, func() bool {
		c, err := p.DialContextTCPAddrPort(t.Context(), to)
		return err == nil && c.Close() == nil
	}, 10*time.Second, 50*time.Millisecond, "places are given back")
	stats, err := r.dp.Stats(t.Context(), wgnode.StatsQuery{})
	require.NoError(t, err)
	require.NotZero(t, stats.Dropped["flow limit"])
}

func TestTCPMemoryIsBoundedAndGivenBack(t *testing.T) {
	limits := DefaultLimits()
	limits.TCPMemory = minTCPMemory
	h := newHoldings(wgKey{1}, limits)
	var flows []*tcpFlow
	held := 0
	for i := range 1000 {
		f, err := h.addTCP(tcpID(uint16(i + 1)))
		if err != nil {
			require.ErrorIs(t, err, errNoMemory)
			break
		}
		held += 2 * f.buffer
		require.LessOrEqual(t, held, limits.TCPMemory)
		flows = append(flows, f)
	}
	require.Greater(t, len(flows), 30, "small buffers leave room for many")
	require.Less(t, len(flows), 1000)
	for _, f := range flows {
		h.removeTCP(f)
		h.removeTCP(f)
	}
	require.Equal(t, limits.TCPMemory, h.memory)
	require.Empty(t, h.tcp)
}

func TestDefaultLimitsLeaveRoomForEveryFlow(t *testing.T) {
	limits := DefaultLimits()
	limits.NewFlowsBurst = 2 * limits.TCPFlows
	h := newHoldings(wgKey{1}, limits)
	for i := range limits.TCPFlows {
		_, err := h.addTCP(tcpID(uint16(i + 1)))
		require.NoError(t, err, "connection %d", i+1)
	}
	_, err := h.addTCP(tcpID(60000))
	require.ErrorIs(t, err, errTooMany)
}

func TestTCPRepeatedSYNTakesOnePlace(t *testing.T) {
	h := newHoldings(wgKey{1}, DefaultLimits())
	f, err := h.addTCP(tcpID(1))
	require.NoError(t, err)
	require.NotNil(t, f)
	again, err := h.addTCP(tcpID(1))
	require.NoError(t, err)
	require.Nil(t, again)
	require.Len(t, h.tcp, 1)
}

func TestManyShortConnections(t *testing.T) {
	r := newRig(t, Config{Dial: onLoopback}, wgnode.State{})
	p := r.addPeer(nil)
	port := listen(t, func(c *net.TCPConn) {
		b, _ := io.ReadAll(c)
		_, _ = c.Write(bytes.ToUpper(b))
	})
	errs := make(chan error, 100)
	for i := range cap(errs) {
		go func() {
			errs <- func() error {
				c, err := p.DialContextTCPAddrPort(t.Context(), netip.AddrPortFrom(web4, port))
				if err != nil {
					return err
				}
				defer c.Close()
				if _, err := fmt.Fprintf(c, "request %d", i); err != nil {
					return err
				}
				if err := c.CloseWrite(); err != nil {
					return err
				}
				got, err := io.ReadAll(c)
				if want := fmt.Sprintf("REQUEST %d", i); err == nil && string(got) != want {
					return fmt.Errorf("got %q, want %q", got, want)
				}
				return err
			}()
		}()
	}
	for range cap(errs) {
		require.NoError(t, <-errs)
	}
}
