package wggo

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"

	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

// ErrClosed is returned after Close.
var ErrClosed = errors.New("wggo: the device is closed")

// Device is WireGuard in this process: a device of wireguard-go for each of the node's keys, of which there are one or two, on one
// port and one TUN. Its methods may be called from any goroutine.
type Device struct {
	m       mux
	reg     registry
	bouncer *bouncer
	cfg     Config
	ended   context.Context // when Close is called: what is under way is given up
	stop    context.CancelFunc
	watch   sync.WaitGroup

	failing sync.Once
	failed  chan struct{}
	cause   error // set before failed is closed

	mu     sync.Mutex // serialises changes
	up     bool       // guarded by mu, as all here
	closed bool

	view         sync.RWMutex // what Status reads, changed with mu held, too
	owner, guest *lane        // guarded by view, as all below; guest is nil while there is one key
	key, former  wgtypes.Key
}

// New makes a device that has no socket yet, and takes the TUN: it is closed with the device, also after an error.
func New(t TUN, cfg Config) (*Device, error) { return newDevice(t, conn.NewDefaultBind(), cfg) }

func newDevice(t TUN, bind conn.Bind, cfg Config) (*Device, error) {
	d := &Device{cfg: cfg, failed: make(chan struct{})}
	d.m.tun, d.m.bind, d.m.lanes = t, bind, make(map[*lane]struct{})
	d.ended, d.stop = context.WithCancel(context.Background())
	d.bouncer = newBouncer(&d.reg, cfg, d.quiet, d.m.someLeft)
	d.m.gate, d.m.caller = newGate(&d.reg, d.bouncer), newCaller(&d.reg, d.bouncer)
	d.watch.Go(d.m.passEvents)
	first := cfg.PrivateKey
	if cfg.FormerKey != (wgtypes.Key{}) {
		first = cfg.FormerKey
	}
	err := cfg.validate()
	if err == nil {
		d.owner, err = d.newLane(first)
	}
	if err != nil {
		d.Close()
		return nil, err
	}
	d.reg.open(d.owner)
	for range gateWorkers() {
		d.watch.Go(func() { d.m.gate.work(d.ended) })
	}
	d.watch.Go(func() { d.m.caller.work(d.ended) })
	d.watch.Go(func() { d.bouncer.watch(d.ended) })
	if err := d.become(d.ended, cfg.PrivateKey, cfg.FormerKey, nil); err != nil {
		d.Close()
		return nil, err
	}
	return d, nil
}

// newLane makes a lane, whose unintended end is that of the device.
func (d *Device) newLane(key wgtypes.Key) (*lane, error) {
	l, err := newLane(&d.m, d.cfg, key)
	if err != nil {
		return nil, err
	}
	d.watch.Go(func() {
		<-l.dev.Wait()
		if !l.dismissed.Load() {
			d.fail(errors.New("the tunnel's interface is gone"))
		}
	})
	return l, nil
}

func (d *Device) fail(cause error) {
	d.failing.Do(func() {
		d.cause = cause
		close(d.failed)
	})
}

// Failed is closed when the device has ended by itself, as its TUN or its port is lost. [Device.Cause] says so in words.
func (d *Device) Failed() <-chan struct{} { return d.failed }

// Cause is why the device has failed; nil if it has not.
func (d *Device) Cause() error {
	select {
	case <-d.failed:
		return d.cause
	default:
		return nil
	}
}

// Up opens the UDP socket and returns its port. It changes nothing where one is open, and may be tried again after an error.
func (d *Device) Up() (port uint16, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.usableLocked(); err != nil {
		return 0, err
	}
	for _, l := range d.lanes() {
		if err := l.dev.Up(); err != nil {
			return 0, err
		}
	}
	d.up = true
	return d.m.actualPort(), nil
}

func (d *Device) usableLocked() error {
	if d.closed {
		return ErrClosed
	}
	return d.Cause()
}

// lanes are the owner and the guest, if there is one. The caller holds mu or view.
func (d *Device) lanes() []*lane {
	if d.guest == nil {
		return []*lane{d.owner}
	}
	return []*lane{d.owner, d.guest}
}

// quiet has no Status be under way until it is unlocked.
func (d *Device) quiet() (unlock func()) {
	d.view.Lock()
	return d.view.Unlock
}

// some is how many peers are registered under one lock; a context that ends is noticed after as many.
const some = 128

// Set removes peers, then registers peers or replaces what was told of them; sessions of those that stay go on. Removing one that
// is not there is no error. A prefix that two peers have is the last one's. After an error some of it may have been done.
func (d *Device) Set(ctx context.Context, remove []wgtypes.Key, set []Peer) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := errors.Join(d.usableLocked(), validate(set)); err != nil {
		return err
	}
	for _, key := range remove {
		if e := d.reg.get(key); e != nil {
			d.remove(e)
		}
	}
	ctx, cancel := d.until(ctx)
	defer cancel()
	return d.register(ctx, set)
}

// remove has a peer be registered no more: from then on no initiation of it is taken.
func (d *Device) remove(e *entry) {
	e.door.Lock()
	defer e.door.Unlock()
	for _, l := range d.reg.drop(e) {
		l.remove(e.key)
	}
}

// register registers peers, and tells devices of those that are in them.
func (d *Device) register(ctx context.Context, peers []Peer) error {
	for chunk := range slices.Chunk(peers, some) {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		for _, e := range d.reg.set(chunk) {
			if err := d.tell(e); err != nil {
				return err
			}
		}
	}
	return nil
}

// tell tells devices what is registered of a peer that is in them; its sessions go on.
func (d *Device) tell(e *entry) error {
	e.door.Lock()
	defer e.door.Unlock()
	d.reg.mu.Lock()
	told, now := e.told(), e.now
	if now == nil {
		d.reg.mu.Unlock()
		return nil
	}
	now.keeper = now.by.Load()
	at, keeper := now.at, now.keeper
	d.reg.mu.Unlock()
	for _, p := range at {
		var text strings.Builder
		to := told
		if p.lane != keeper {
			to.Keepalive = 0
		}
		writePeer(&text, to)
		if err := p.lane.dev.IpcSet(text.String()); err != nil {
			return err
		}
	}
	return nil
}

// until is a context that ends also with the device.
func (d *Device) until(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(d.ended, func() { cancel(ErrClosed) })
	return ctx, func() {
		stop()
		cancel(nil)
	}
}

// Close ends all traffic, closes the TUN, and joins every goroutine. It may be called more than once.
func (d *Device) Close() {
	d.stop()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return
	}
	d.closed = true
	if p := d.m.pair.Load(); p != nil {
		p.end()
	}
	lanes := d.lanes()
	if d.owner == nil { // it could not be made
		_ = d.m.tun.Close() // again, for all that the device has closed
		lanes = nil
	}
	slices.Reverse(lanes)
	for _, l := range lanes {
		l.close()
	}
	d.watch.Wait()
	d.m.gate.limit.Close()
}
