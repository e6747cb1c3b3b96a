// Package clienttun makes the TUN device and network stack of a client in the process, those of wireguard-go's tun/netstack, such
// that it can be closed at any time.
package clienttun

import (
	"net/netip"
	"sync"
	"time"

	"golang.zx2c4.com/wireguard/tun"
	"golang.zx2c4.com/wireguard/tun/netstack"
)

const (
	// quiet is how long a stack has sent nothing that is taken to send no more: what is under way in it takes microseconds.
	quiet = 20 * time.Millisecond
	// patience is how long Close waits for that, if connections go on writing.
	patience = time.Second
)

// Create makes a stack with these addresses, and its device for [device.NewDevice], which closes it.
//
// [device.NewDevice]: https://pkg.go.dev/golang.zx2c4.com/wireguard/device#NewDevice
func Create(addrs, dns []netip.Addr, mtu int) (tun.Device, *netstack.Net, error) {
	inner, net, err := netstack.CreateNetTUN(addrs, dns, mtu)
	if err != nil {
		return nil, nil, err
	}
	return &closer{Device: inner}, net, nil
}

// closer closes a device when its stack is at rest. The device hands over what its stack sends by a channel that Close closes, also when
// a packet that came in, or a connection that was closed just before, has the stack send at that moment: a panic.
type closer struct {
	tun.Device

	mu      sync.RWMutex
	closing bool

	sent struct {
		sync.Mutex
		at time.Time // when the last packet was taken
	}
}

// Read takes what the stack sends.
func (c *closer) Read(bufs [][]byte, sizes []int, offset int) (int, error) {
	n, err := c.Device.Read(bufs, sizes, offset)
	c.sent.Lock()
	defer c.sent.Unlock()
	c.sent.at = time.Now()
	return n, err
}

// Write gives the stack packets, unless it is to come to rest.
func (c *closer) Write(bufs [][]byte, offset int) (int, error) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.closing {
		return len(bufs), nil
	}
	return c.Device.Write(bufs, offset)
}

// Close has nothing more come in, waits until what is under way has gone out, which needs a reader, and closes the device.
func (c *closer) Close() error {
	c.mu.Lock()
	c.closing = true
	c.mu.Unlock()
	for began := time.Now(); time.Since(began) < patience; time.Sleep(quiet / 4) {
		c.sent.Lock()
		last := c.sent.at
		c.sent.Unlock()
		if time.Since(last) > quiet && time.Since(began) > quiet {
			break
		}
	}
	return c.Device.Close()
}
