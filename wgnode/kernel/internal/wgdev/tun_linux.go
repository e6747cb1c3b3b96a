package wgdev

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/tun"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/wgnode/internal/wggo"
	"github.com/waylume/waylume/wgnode/kernel/internal/link"
)

// TUN is wireguard-go in this process, on a TUN of the kernel's. Device and sessions end with the process.
type TUN struct {
	conn   *link.Conn
	writes atomic.Uint64

	mu      sync.Mutex
	used    bool // Open or Close has been called; guarded by mu, as all below
	closing bool // Close has been called, or Open has failed
	device  *wggo.Device
	link    link.Link
	cfg     Config
}

// NewTUN returns a device that is not open yet. The connection stays the caller's.
func NewTUN(conn *link.Conn) *TUN { return &TUN{conn: conn} }

// Open implements [Device]; adopted is always false, as a TUN that was left behind has no peers.
func (t *TUN) Open(ctx context.Context, cfg Config) (l link.Link, adopted bool, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("wgdev: open %s: %w", cfg.Name, err)
		}
	}()
	if err := errors.Join(t.begin(), ctx.Err()); err != nil {
		return link.Link{}, false, err
	}
	file, l, err := openTUN(t.conn, cfg.Name)
	if err != nil {
		return link.Link{}, false, err
	}
	err = t.conn.EnsureAttributes(l.Index, link.Attributes{MTU: cfg.MTU, NoLinkLocal: true})
	if err == nil {
		l, _, err = t.conn.LinkByIndex(l.Index)
	}
	if err != nil {
		return link.Link{}, false, errors.Join(err, file.Close())
	}
	native, err := tun.CreateTUNFromFile(file, cfg.MTU)
	if err != nil {
		return link.Link{}, false, errors.Join(fmt.Errorf("take the TUN: %w", err), file.Close())
	}
	dev, err := wggo.New(newSteady(native), wggo.Config{
		PrivateKey: cfg.PrivateKey, FormerKey: cfg.FormerKey, ListenPort: cfg.ListenPort, FirewallMark: cfg.FirewallMark, Logger: cfg.Logger,
	})
	if err != nil {
		return link.Link{}, false, err
	}
	if err := t.keep(dev, l, cfg); err != nil {
		dev.Close()
		return link.Link{}, false, err
	}
	return l, false, nil
}

// begin lets Open run once.
func (t *TUN) begin() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.used {
		return errClosed
	}
	t.used = true
	return nil
}

// keep makes the device the TUN's, unless Close was quicker.
func (t *TUN) keep(dev *wggo.Device, l link.Link, cfg Config) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closing {
		return errClosed
	}
	t.device, t.link, t.cfg = dev, l, cfg
	return nil
}

func (t *TUN) opened() (*wggo.Device, link.Link, Config, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.device == nil || t.closing {
		return nil, link.Link{}, Config{}, errClosed
	}
	select {
	case <-t.device.Failed():
		return nil, link.Link{}, Config{}, fmt.Errorf("%w: %w", link.ErrNoLink, t.device.Cause())
	default:
		return t.device, t.link, t.cfg, nil
	}
}

// Up implements [Device].
func (t *TUN) Up(ctx context.Context) (port uint16, err error) {
	dev, l, cfg, err := t.opened()
	if err == nil {
		err = ctx.Err()
	}
	if err == nil {
		port, err = dev.Up()
		err = explainPort(err, cfg.ListenPort)
	}
	if err == nil {
		err = t.conn.EnsureUp(l.Index)
	}
	if err != nil {
		return 0, fmt.Errorf("wgdev: set %s up: %w", cfg.Name, err)
	}
	return port, nil
}

// Status implements [Device].
func (t *TUN) Status(ctx context.Context) (Status, error) {
	dev, _, cfg, err := t.opened()
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return Status{}, fmt.Errorf("wgdev: read peers: %w", err)
	}
	status, err := dev.Status()
	if err != nil {
		return Status{}, fmt.Errorf("wgdev: read peers of %s: %w", cfg.Name, err)
	}
	return status, nil
}

// SetKeys implements [Device].
func (t *TUN) SetKeys(ctx context.Context, key, former wgtypes.Key, peers []Peer) error {
	dev, _, cfg, err := t.opened()
	if err == nil {
		err = ctx.Err()
	}
	if err == nil {
		t.writes.Add(1)
		err = dev.SetKeys(ctx, key, former, peers)
	}
	if err != nil {
		return fmt.Errorf("wgdev: set the private key of %s: %w", cfg.Name, err)
	}
	return nil
}

// Set implements [Device].
func (t *TUN) Set(ctx context.Context, remove []wgtypes.Key, set []Peer) error {
	dev, _, cfg, err := t.opened()
	if err != nil {
		return fmt.Errorf("wgdev: set peers: %w", err)
	}
	if len(remove)+len(set) == 0 {
		return nil
	}
	t.writes.Add(1)
	if err := dev.Set(ctx, remove, set); err != nil {
		return fmt.Errorf("wgdev: set peers of %s: %w", cfg.Name, err)
	}
	return nil
}

// Writes counts the requests so far, after Open, that told the device something; those to the interface are the connection's
// to count.
func (t *TUN) Writes() uint64 { return t.writes.Load() }

// Failed implements [Device]; nil, which is never closed, before Open.
func (t *TUN) Failed() <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.device == nil {
		return nil
	}
	return t.device.Failed()
}

// Close implements [Device]. There is nothing to keep.
func (t *TUN) Close(bool) error {
	t.mu.Lock()
	t.used, t.closing = true, true
	dev := t.device
	t.mu.Unlock()
	if dev != nil {
		dev.Close()
	}
	return nil
}

// openTUN makes a TUN of ours, down, or takes one of ours that nobody has open. It goes when the file is closed.
func openTUN(c *link.Conn, name string) (*os.File, link.Link, error) {
	l, ok, err := c.LinkByName(name)
	if err == nil && ok {
		err = l.Check(name, link.KindTUN)
	}
	if err != nil {
		return nil, link.Link{}, err
	}
	fd, err := unix.Open(tunPath, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, link.Link{}, openError(err)
	}
	if err := attachTUN(fd, name, ok); err != nil {
		_ = unix.Close(fd)
		return nil, link.Link{}, err
	}
	file := os.NewFile(uintptr(fd), tunPath) // only now: a TUN without its interface cannot be polled
	l, ok, err = c.LinkByName(name)
	if err == nil && !ok {
		err = fmt.Errorf("%w: the interface was deleted or renamed as soon as it was made", link.ErrNoLink)
	}
	if err == nil {
		l, err = c.Mark(l)
	}
	if err == nil {
		err = c.EnsureDown(l.Index)
	}
	if err != nil {
		return nil, link.Link{}, errors.Join(err, file.Close())
	}
	return file, l, nil
}

// attachTUN joins an open file to the interface: one that exists, or a new one and no other.
func attachTUN(fd int, name string, exists bool) error {
	req, err := unix.NewIfreq(name)
	if err != nil {
		return fmt.Errorf("interface name %q: %w", name, err)
	}
	flags := uint16(unix.IFF_TUN | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
	if !exists {
		flags |= unix.IFF_TUN_EXCL
	}
	req.SetUint16(flags)
	err = unix.IoctlIfreq(fd, unix.TUNSETIFF, req)
	switch {
	case errors.Is(err, unix.EBUSY), errors.Is(err, unix.EEXIST):
		return fmt.Errorf("%w: another process has %s open: end it, or choose another interface name in the configuration: %w",
			link.ErrTaken, name, err)
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("make the TUN: %w: run as root or with CAP_NET_ADMIN", err)
	case err != nil:
		return fmt.Errorf("make the TUN: %w", err)
	}
	// What a process that kept it left behind ends with this one.
	if err := unix.IoctlSetInt(fd, unix.TUNSETPERSIST, 0); err != nil {
		return fmt.Errorf("make the TUN end with this process: %w", err)
	}
	return nil
}
