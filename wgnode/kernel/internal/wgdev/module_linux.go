package wgdev

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/wgctrl"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/kernel/internal/link"
)

// Module is a device of the kernel's WireGuard module. It goes on without the process that made it.
type Module struct {
	conn   *link.Conn
	failed chan struct{} // never closed
	writes atomic.Uint64

	mu     sync.Mutex
	used   bool           // Open or Close has been called; guarded by mu, as all below
	closed bool           // Close has been called, or Open has failed
	client *wgctrl.Client // nil before Open and after Close
	link   link.Link
	cfg    Config
}

// NewModule returns a device that is not open yet. The connection stays the caller's.
func NewModule(conn *link.Conn) *Module { return &Module{conn: conn, failed: make(chan struct{})} }

// Open implements [Device].
func (m *Module) Open(ctx context.Context, cfg Config) (l link.Link, adopted bool, err error) {
	if err := errors.Join(m.begin(), ctx.Err()); err != nil {
		return link.Link{}, false, fmt.Errorf("wgdev: open %s: %w", cfg.Name, err)
	}
	l, created, err := m.conn.EnsureLink(cfg.Name, link.KindWireGuard)
	if errors.Is(err, unix.EOPNOTSUPP) {
		err = notSupported(needModule, err)
	}
	var client *wgctrl.Client
	if err == nil {
		client, err = m.configure(cfg, l)
	}
	if err == nil {
		err = m.keep(client, l, cfg)
	}
	if err == nil {
		l, _, err = m.conn.LinkByIndex(l.Index)
	}
	if err != nil {
		m.release()
		if created {
			err = errors.Join(err, m.conn.Delete(l.Index))
		}
		return link.Link{}, false, fmt.Errorf("wgdev: open %s: %w", cfg.Name, err)
	}
	return l, !created, nil
}

// begin lets Open run once.
func (m *Module) begin() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.used {
		return errClosed
	}
	m.used = true
	return nil
}

// configure writes what differs from cfg, and nothing of the peers unless the key does.
func (m *Module) configure(cfg Config, l link.Link) (*wgctrl.Client, error) {
	if err := m.conn.EnsureAttributes(l.Index, link.Attributes{MTU: cfg.MTU, NoLinkLocal: true}); err != nil {
		return nil, err
	}
	client, err := wgctrl.New()
	if err != nil {
		return nil, fmt.Errorf("connect to WireGuard: %w", err)
	}
	have, err := client.Device(cfg.Name)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("read the device: %w", explain(err)), client.Close())
	}
	// A key that is set again ends every session, even if it is the same (drivers/net/wireguard/netlink.c, wg_set_device);
	// a port or a mark makes peers look for their way out anew.
	var change wgtypes.Config
	if have.PrivateKey != cfg.PrivateKey {
		// The former key's sessions would let peers send for some minutes more.
		change.PrivateKey, change.ReplacePeers = &cfg.PrivateKey, true
	}
	if port := int(cfg.ListenPort); have.ListenPort != port && port != 0 {
		change.ListenPort = &port
	}
	if mark := int(cfg.FirewallMark); have.FirewallMark != mark {
		change.FirewallMark = &mark
	}
	if change.PrivateKey == nil && change.ListenPort == nil && change.FirewallMark == nil {
		return client, nil
	}
	m.writes.Add(1)
	if err := client.ConfigureDevice(cfg.Name, change); err != nil {
		return nil, errors.Join(explainPort(fmt.Errorf("configure the device: %w", explain(err)), cfg.ListenPort), client.Close())
	}
	return client, nil
}

// keep makes the device the module's, unless Close was quicker.
func (m *Module) keep(client *wgctrl.Client, l link.Link, cfg Config) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		_ = client.Close()
		return errClosed
	}
	m.client, m.link, m.cfg = client, l, cfg
	return nil
}

func (m *Module) opened() (*wgctrl.Client, link.Link, Config, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.client == nil {
		return nil, link.Link{}, Config{}, errClosed
	}
	return m.client, m.link, m.cfg, nil
}

// Up implements [Device].
func (m *Module) Up(ctx context.Context) (port uint16, err error) {
	client, l, cfg, err := m.opened()
	if err == nil {
		err = ctx.Err()
	}
	if err == nil {
		err = explainPort(m.conn.EnsureUp(l.Index), cfg.ListenPort)
	}
	if err != nil {
		return 0, fmt.Errorf("wgdev: set %s up: %w", cfg.Name, err)
	}
	have, err := client.Device(cfg.Name)
	if err != nil {
		return 0, fmt.Errorf("wgdev: read the port of %s: %w", cfg.Name, explain(err))
	}
	return uint16(have.ListenPort), nil
}

// Status implements [Device].
func (m *Module) Status(ctx context.Context) (Status, error) {
	client, _, cfg, err := m.opened()
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return Status{}, fmt.Errorf("wgdev: read peers: %w", err)
	}
	have, err := client.Device(cfg.Name)
	if err != nil {
		return Status{}, fmt.Errorf("wgdev: read peers of %s: %w", cfg.Name, explain(err))
	}
	peers := make([]PeerStatus, 0, len(have.Peers))
	for _, p := range have.Peers {
		peers = append(peers, moduleStatus(p))
	}
	return Status{PrivateKey: have.PrivateKey, ListenPort: uint16(have.ListenPort), Peers: peers}, nil
}

// SetKeys implements [Device], but for a former key. The module removes the peers before it takes the key (drivers/net/wireguard/netlink.c,
// wg_set_device), so that it need not compute anew for each what those two share.
func (m *Module) SetKeys(ctx context.Context, key, former wgtypes.Key, peers []Peer) error {
	if former != (wgtypes.Key{}) {
		return &wgnode.NotSupportedError{Feature: "serving a former key", Requires: "wireguard-go in place of the WireGuard module"}
	}
	client, _, cfg, err := m.opened()
	if err == nil {
		err = ctx.Err()
	}
	if err == nil {
		m.writes.Add(1)
		err = explain(client.ConfigureDevice(cfg.Name, wgtypes.Config{PrivateKey: &key, ReplacePeers: true}))
	}
	if err != nil {
		return fmt.Errorf("wgdev: set the private key of %s: %w", cfg.Name, err)
	}
	return m.Set(ctx, nil, peers)
}

// Set implements [Device].
func (m *Module) Set(ctx context.Context, remove []wgtypes.Key, set []Peer) error {
	client, _, cfg, err := m.opened()
	if err != nil {
		return fmt.Errorf("wgdev: set peers: %w", err)
	}
	send := func(peers []wgtypes.PeerConfig) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		m.writes.Add(1)
		return explain(client.ConfigureDevice(cfg.Name, wgtypes.Config{Peers: peers}))
	}
	for some := range slices.Chunk(remove, chunkPeers) {
		peers := make([]wgtypes.PeerConfig, 0, len(some))
		for _, key := range some {
			peers = append(peers, wgtypes.PeerConfig{PublicKey: key, Remove: true})
		}
		if err := send(peers); err != nil {
			return fmt.Errorf("wgdev: remove peers from %s: %w", cfg.Name, err)
		}
	}
	for some := range chunks(set) {
		peers := make([]wgtypes.PeerConfig, 0, len(some))
		for _, p := range some {
			peers = append(peers, moduleConfig(p))
		}
		if err := send(peers); err != nil {
			return fmt.Errorf("wgdev: set peers of %s: %w", cfg.Name, err)
		}
	}
	return nil
}

// Writes counts the requests so far that told the device something; those to the interface are the connection's to count.
func (m *Module) Writes() uint64 { return m.writes.Load() }

// Failed implements [Device].
func (m *Module) Failed() <-chan struct{} { return m.failed }

// Close implements [Device].
func (m *Module) Close(keep bool) error {
	l, open := m.release()
	if !open || keep {
		return nil
	}
	return m.conn.Delete(l.Index)
}

// release ends the use of the device, which stays as it is.
func (m *Module) release() (l link.Link, open bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	open, m.used, m.closed = m.client != nil, true, true
	if open {
		_ = m.client.Close()
		m.client = nil
	}
	return m.link, open
}

// moduleConfig says all of a peer; its session, if there is one, goes on.
func moduleConfig(p Peer) wgtypes.PeerConfig {
	allowed := make([]net.IPNet, 0, len(p.AllowedIPs))
	for _, prefix := range p.AllowedIPs {
		allowed = append(allowed, net.IPNet{
			IP: prefix.Addr().AsSlice(), Mask: net.CIDRMask(prefix.Bits(), prefix.Addr().BitLen()),
		})
	}
	return wgtypes.PeerConfig{
		PublicKey:                   p.PublicKey,
		PresharedKey:                &p.PresharedKey, // zero takes one away
		PersistentKeepaliveInterval: &p.Keepalive,
		ReplaceAllowedIPs:           true,
		AllowedIPs:                  allowed,
	}
}

func moduleStatus(p wgtypes.Peer) PeerStatus {
	s := PeerStatus{
		Peer: Peer{
			PublicKey: p.PublicKey, PresharedKey: p.PresharedKey, Keepalive: p.PersistentKeepaliveInterval,
			AllowedIPs: make([]netip.Prefix, 0, len(p.AllowedIPs)),
		},
		ReceivedBytes: uint64(p.ReceiveBytes), SentBytes: uint64(p.TransmitBytes),
	}
	for _, n := range p.AllowedIPs {
		bits, size := n.Mask.Size()
		if addr, ok := netip.AddrFromSlice(n.IP); ok {
			if size == 32 { // wgctrl keeps IPv4 addresses in 4 bytes or in 16
				addr = addr.Unmap()
			}
			s.AllowedIPs = append(s.AllowedIPs, netip.PrefixFrom(addr, bits))
		}
	}
	// No handshake is the epoch, which time.Time does not hold to be zero.
	if p.LastHandshakeTime.After(time.Unix(0, 0)) {
		s.LastHandshake = p.LastHandshakeTime
	}
	if p.Endpoint != nil {
		addr := p.Endpoint.AddrPort()
		s.Endpoint = netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port())
	}
	return s
}

// explain says what wgctrl's errors mean.
func explain(err error) error {
	switch {
	case errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("%w: the interface has been deleted, renamed or replaced: %w", link.ErrNoLink, err)
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("%w: run as root or with CAP_NET_ADMIN", err)
	}
	return err
}
