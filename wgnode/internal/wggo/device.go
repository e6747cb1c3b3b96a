package wggo

import (
	"context"
	"slices"
	"strings"
	"sync"

	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/tun"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

// Device is WireGuard in this process. Its methods may be called from any goroutine.
type Device struct {
	dev    *device.Device
	failed chan struct{}
	watch  sync.WaitGroup

	mu      sync.Mutex
	closing bool // guarded by mu
}

// New makes a device that has no socket yet, and takes the tunnel: it is closed with the device, also after an error.
func New(t tun.Device, cfg Config) (*Device, error) {
	d := &Device{dev: device.NewDevice(t, conn.NewDefaultBind(), deviceLogger(cfg.Logger)), failed: make(chan struct{})}
	if err := d.dev.IpcSet(interfaceText(cfg)); err != nil {
		d.dev.Close()
		return nil, err
	}
	d.watch.Go(d.watchEnd)
	return d, nil
}

func (d *Device) watchEnd() {
	<-d.dev.Wait()
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.closing {
		close(d.failed)
	}
}

// Up opens the UDP socket and returns its port. It changes nothing where one is open, and may be tried again after an error.
func (d *Device) Up() (port uint16, err error) {
	if err := d.dev.Up(); err != nil {
		return 0, err
	}
	s, err := d.Status()
	return s.ListenPort, err
}

// Status reads the private key and all peers.
func (d *Device) Status() (Status, error) {
	var answer strings.Builder
	if err := d.dev.IpcGetOperation(&answer); err != nil {
		return Status{}, err
	}
	return parseReport(strings.NewReader(answer.String()))
}

// together is how many peers a device is told of at a time: a context that ends is noticed after as many.
const together = 32

// Set removes peers, then adds peers or replaces what the device was told of them; sessions of those that stay go on. Removing
// one that is not there is no error. A prefix that two peers have is the last one's. After an error some of it may have been done.
func (d *Device) Set(ctx context.Context, remove []wgtypes.Key, set []Peer) error {
	for _, key := range remove {
		d.dev.RemovePeer(device.NoisePublicKey(key))
	}
	for some := range slices.Chunk(set, together) {
		if err := ctx.Err(); err != nil {
			return err
		}
		var text strings.Builder
		for _, p := range some {
			writePeer(&text, p)
		}
		if err := d.dev.IpcSet(text.String()); err != nil {
			return err
		}
	}
	return nil
}

// SetKey gives the device another private key, and these peers and no others. Every session ends, also those that WireGuard
// itself would let a peer send in for some minutes more. After an error some of it may have been done.
func (d *Device) SetKey(ctx context.Context, key wgtypes.Key, peers []Peer) error {
	// The peers go before the key comes, which otherwise takes time for each.
	if err := d.dev.IpcSet(keyText(key)); err != nil {
		return err
	}
	return d.Set(ctx, nil, peers)
}

// Failed is closed when the device has ended by itself: its tunnel failed.
func (d *Device) Failed() <-chan struct{} { return d.failed }

// Close ends all traffic, closes the tunnel, and joins every goroutine. It may be called more than once.
func (d *Device) Close() {
	d.mu.Lock()
	d.closing = true
	d.mu.Unlock()
	d.dev.Close()
	d.watch.Wait()
}
