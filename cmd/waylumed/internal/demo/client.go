package demo

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/tun/netstack"

	"github.com/waylume/waylume/internal/clienttun"
	"github.com/waylume/waylume/wgnode"
)

// client is a stock WireGuard client with a network stack of its own, as a phone would be.
type client struct {
	peer wgnode.AddedPeer
	net  *netstack.Net
	tap  *tap
	dev  *device.Device

	mu    sync.Mutex
	conns []net.Conn
}

// connect makes a client of a peer's configuration. The stack has the peer's addresses, and extra ones that it may not use.
func connect(peer wgnode.AddedPeer, cfg wgnode.ClientConfig, extra ...netip.Addr) (*client, error) {
	inner, stack, err := clienttun.Create(append(extra, cfg.Addrs...), nil, cfg.MTU)
	if err != nil {
		return nil, fmt.Errorf("make a network stack: %w", err)
	}
	c := &client{peer: peer, net: stack, tap: newTap(inner)}
	c.dev = device.NewDevice(c.tap, conn.NewDefaultBind(), device.NewLogger(device.LogLevelSilent, ""))
	var uapi strings.Builder
	fmt.Fprintf(&uapi, "private_key=%s\npublic_key=%s\nendpoint=%s\n",
		hex.EncodeToString(cfg.PrivateKey[:]), hex.EncodeToString(cfg.ServerKey[:]), cfg.Endpoint)
	for _, prefix := range cfg.AllowedIPs {
		fmt.Fprintf(&uapi, "allowed_ip=%s\n", prefix)
	}
	if err := c.dev.IpcSet(uapi.String()); err != nil {
		c.dev.Close()
		return nil, fmt.Errorf("configure a client: %w", err)
	}
	if err := c.dev.Up(); err != nil {
		c.dev.Close()
		return nil, fmt.Errorf("start a client: %w", err)
	}
	return c, nil
}

// close ends the client's connections and then the client.
func (c *client) close() {
	c.mu.Lock()
	conns := c.conns
	c.mu.Unlock()
	for _, conn := range conns {
		_ = conn.Close()
	}
	c.dev.Close()
}

// addr is the client's own address of the family of to.
func (c *client) addr(to netip.Addr) netip.Addr {
	for _, addr := range c.peer.Addrs {
		if addr.Is4() == to.Is4() {
			return addr
		}
	}
	return netip.Addr{}
}

func (c *client) track(conn net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.conns = append(c.conns, conn)
}

// dialTCP connects through the tunnel.
func (c *client) dialTCP(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	conn, err := c.net.DialContextTCPAddrPort(ctx, to)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", to, err)
	}
	c.track(conn)
	return conn, nil
}

// dialUDP opens a flow through the tunnel, from one of the client's addresses.
func (c *client) dialUDP(from netip.Addr, to netip.AddrPort) (net.Conn, error) {
	conn, err := c.net.DialUDPAddrPort(netip.AddrPortFrom(from, 0), to)
	if err != nil {
		return nil, fmt.Errorf("open a UDP flow from %s to %s: %w", from, to, err)
	}
	c.track(conn)
	return conn, nil
}

// handshake waits until the tunnel carries packets both ways.
func (c *client) handshake(ctx context.Context, echo netip.AddrPort) error {
	conn, err := c.dialUDP(c.addr(echo.Addr()), echo)
	if err != nil {
		return err
	}
	defer conn.Close()
	b := make([]byte, 16)
	for {
		if _, err := conn.Write(b); err != nil {
			return err
		}
		if err := conn.SetReadDeadline(time.Now().Add(300 * time.Millisecond)); err != nil {
			return err
		}
		if _, err := conn.Read(b); err == nil {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("the tunnel of %s carries nothing: %w", c.peer.Name, err)
		}
	}
}

// ping measures round trips to a UDP echo server until count are sent or the context ends; each sends size bytes.
func (c *client) ping(ctx context.Context, to netip.AddrPort, count int, every time.Duration) (RTT, error) {
	conn, err := c.dialUDP(c.addr(to.Addr()), to)
	if err != nil {
		return RTT{}, err
	}
	var wg sync.WaitGroup
	var trips []time.Duration
	began := time.Now()
	wg.Go(func() { // ends when the flow is closed
		b := make([]byte, 64)
		for {
			n, err := conn.Read(b)
			if err != nil {
				return
			}
			if n >= 8 {
				trips = append(trips, time.Since(began)-time.Duration(binary.BigEndian.Uint64(b)))
			}
		}
	})
	sent, err := sendPings(ctx, conn, began, count, every)
	sleep(ctx, 200*time.Millisecond) // for the last answers
	_ = conn.Close()
	wg.Wait()
	return newRTT(trips, sent), err
}

func sendPings(ctx context.Context, conn net.Conn, began time.Time, count int, every time.Duration) (int, error) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	b := make([]byte, 56) // an ICMP echo of the usual size
	for sent := range count {
		binary.BigEndian.PutUint64(b, uint64(time.Since(began)))
		if _, err := conn.Write(b); err != nil {
			return sent, err
		}
		select {
		case <-ctx.Done():
			return sent + 1, nil
		case <-ticker.C:
		}
	}
	return count, nil
}

// sleep waits, and says whether it could to the end.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// isTimeout tells silence from an answer.
func isTimeout(err error) bool {
	var timeout net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout()
}
