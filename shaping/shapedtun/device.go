package shapedtun

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"

	"golang.zx2c4.com/wireguard/tun"

	"github.com/waylume/waylume/shaping"
)

const (
	// headroom is what a device may want in front of a packet; wireguard-go's for Linux writes a virtio header of 10 bytes.
	headroom = 16
	// readyPackets is how many packets wait for Read, in number.
	readyPackets = 512
	// leastMTU keeps room for a device whose MTU is raised, up to that of Ethernet.
	leastMTU = 1500
)

// ErrConfig is matched by errors about a [Config] that cannot work.
var ErrConfig = errors.New("shapedtun: invalid configuration")

// Config is what a [Device] is made of. Device and Classify must be set.
type Config struct {
	// Device is wrapped, and closed with the wrapper. As wireguard-go does, it must stand several calls of Write at a time.
	Device tun.Device

	// Classify returns the leaf that a packet belongs to, or nil for one that passes without a limit. It is called for
	// each packet, by several goroutines at once.
	Classify func(info Info) *Leaf

	// MTU is the size of the largest packet that Device will ever have, in bytes; 0 is its MTU now, or 1,500 if that is
	// more.
	MTU int

	// Memory bounds what is queued in each direction, in bytes; 0 is [shaping.DefaultMemory].
	Memory int

	// Tuning sets bursts and queues.
	Tuning shaping.Tuning
}

// Device is a tun.Device with speed limits. All methods are safe for concurrent use.
type Device struct {
	inner     tun.Device
	classify  func(Info) *Leaf
	mtu       int
	download  *shaping.Scheduler
	upload    *shaping.Scheduler
	ready     chan *shaping.Packet // for Read
	scratch   sync.Pool            // *scratch
	malformed atomic.Uint64
	unwritten atomic.Pointer[error] // what the wrapped device said of a packet after Write had returned

	failed error         // why the wrapped device can be read no more
	broken chan struct{} // closed once failed is set
	closed chan struct{}
	done   sync.WaitGroup
	limits limits

	mu      sync.Mutex
	started bool
	ended   bool
	result  error // of closing the wrapped device
}

var _ tun.Device = (*Device)(nil)

// New wraps a device. It starts nothing and does not touch the device, except to ask for its MTU and batch size. Errors match
// [ErrConfig] or [shaping.ErrConfig].
func New(cfg Config) (*Device, error) {
	if cfg.Device == nil || cfg.Classify == nil {
		return nil, fmt.Errorf("%w: Device and Classify must both be set", ErrConfig)
	}
	if cfg.MTU == 0 {
		mtu, err := cfg.Device.MTU()
		if err != nil {
			return nil, fmt.Errorf("%w: the device has no MTU, so Config.MTU must be set: %w", ErrConfig, err)
		}
		cfg.MTU = max(mtu, leastMTU)
	}
	d := &Device{
		inner:    cfg.Device,
		classify: cfg.Classify,
		mtu:      cfg.MTU,
		ready:    make(chan *shaping.Packet, readyPackets),
		broken:   make(chan struct{}),
		closed:   make(chan struct{}),
	}
	d.scratch.New = func() any { return new(scratch) }
	var err error
	shape := shaping.Config{MTU: cfg.MTU, Headroom: headroom, Memory: cfg.Memory, Tuning: cfg.Tuning}
	shape.Output = d.deliver
	if d.download, err = shaping.NewScheduler(shape); err != nil {
		return nil, err
	}
	shape.Output = d.write
	if d.upload, err = shaping.NewScheduler(shape); err != nil {
		return nil, err
	}
	return d, nil
}

// Start begins to read from the wrapped device. It does nothing the second time, or after Close.
func (d *Device) Start() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.started || d.ended {
		return
	}
	d.started = true
	d.download.Start()
	d.upload.Start()
	d.done.Go(d.pump)
}

// Close closes the wrapped device, drops what is queued and ends all goroutines. It may be called at any time, more than
// once, and returns what the wrapped device returned.
func (d *Device) Close() error {
	d.mu.Lock()
	if !d.ended {
		d.ended = true
		close(d.closed)
		// Closed first, the device lets go of whoever reads or writes it.
		d.result = d.inner.Close()
	}
	err := d.result
	d.mu.Unlock()
	d.upload.Close()
	d.download.Close()
	d.done.Wait()
	for {
		select {
		case p := <-d.ready:
			p.Free()
		default:
			return err
		}
	}
}

// Malformed returns how many packets were dropped because they are no proper IP packets, and so cannot be told apart.
func (d *Device) Malformed() uint64 { return d.malformed.Load() }

// File returns the file of the wrapped device, which may be nil. What is read from or written to it has no limit.
func (d *Device) File() *os.File { return d.inner.File() }

// MTU returns the MTU of the wrapped device, or Config.MTU if that is less.
func (d *Device) MTU() (int, error) {
	mtu, err := d.inner.MTU()
	return min(mtu, d.mtu), err
}

// Name returns the name of the wrapped device.
func (d *Device) Name() (string, error) { return d.inner.Name() }

// Events returns the events of the wrapped device.
func (d *Device) Events() <-chan tun.Event { return d.inner.Events() }

// BatchSize returns the batch size of the wrapped device.
func (d *Device) BatchSize() int { return d.inner.BatchSize() }
