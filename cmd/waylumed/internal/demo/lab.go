package demo

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/waylume/waylume/isolation"
	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/userspace"
)

// echoPlace4 and echoPlace6 are where the echo server stands.
func echoPlace4() netip.AddrPort { return netip.MustParseAddrPort("192.0.2.7:7") }
func echoPlace6() netip.AddrPort { return netip.MustParseAddrPort("[2001:db8::7]:7") }

// lab is a node with what is around it.
type lab struct {
	node *wgnode.Node
	web  *internet

	mu      sync.Mutex
	clients map[*client]struct{}
}

func newLab(ctx context.Context, log *slog.Logger, policy isolation.Policy) (*lab, error) {
	l := &lab{web: newInternet(), clients: make(map[*client]struct{})}
	err := l.start(ctx, log, policy)
	if err != nil {
		return nil, errors.Join(err, l.close())
	}
	return l, nil
}

func (l *lab) start(ctx context.Context, log *slog.Logger, policy isolation.Policy) error {
	for _, addr := range []netip.AddrPort{echoPlace4(), echoPlace6()} {
		if _, err := l.web.serveUDP(addr, echo); err != nil {
			return err
		}
	}
	dataplane, err := userspace.New(userspace.Config{Dial: l.web.dial})
	if err != nil {
		return err
	}
	cfg := wgnode.Config{Dataplane: dataplane, Endpoint: "127.0.0.1", Logger: log, Policy: policy}
	if l.node, err = wgnode.New(cfg); err != nil {
		return err
	}
	return l.node.Start(ctx)
}

// close ends clients, node and servers, in this order, and joins them.
func (l *lab) close() error {
	l.mu.Lock()
	var wg sync.WaitGroup
	for c := range l.clients {
		wg.Go(c.close)
	}
	l.clients = nil
	l.mu.Unlock()
	wg.Wait()
	var err error
	if l.node != nil {
		err = l.node.Close()
	}
	l.web.close()
	return err
}

// join adds a peer and connects its client, until the tunnel works. The client claims the extra addresses besides its own.
func (l *lab) join(ctx context.Context, spec wgnode.PeerSpec, extra ...netip.Addr) (*client, error) {
	peer, err := l.node.AddPeer(ctx, spec)
	if err != nil {
		return nil, err
	}
	cfg, err := l.node.ClientConfig(peer.PublicKey, peer.PrivateKey)
	if err != nil {
		return nil, err
	}
	c, err := connect(peer, cfg, extra...)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	l.clients[c] = struct{}{}
	l.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	if err := c.handshake(ctx, echoPlace4()); err != nil {
		return nil, errors.Join(err, l.leave(c))
	}
	return c, nil
}

// leave disconnects a client and removes its peer.
func (l *lab) leave(c *client) error {
	l.mu.Lock()
	_, ok := l.clients[c]
	delete(l.clients, c)
	l.mu.Unlock()
	if !ok {
		return nil
	}
	c.close()
	// The peer goes also when the demonstration is being broken off.
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := l.node.RemovePeer(ctx, c.peer.PublicKey); err != nil {
		return fmt.Errorf("remove peer %s: %w", c.peer.Name, err)
	}
	return nil
}
