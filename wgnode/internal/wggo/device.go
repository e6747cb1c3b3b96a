package wggo

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

// ErrClosed is returned after Close.
var ErrClosed = errors.New("wggo: the device is closed")

// Device is WireGuard in this process: a device of wireguard-go for each of the node's keys, of which there are one or two, on one
// port and one TUN. Its methods may be called from any goroutine.
type Device struct {
	m     mux
	cfg   Config
	ended context.Context // when Close is called: what is under way is given up
	stop  context.CancelFunc
	watch sync.WaitGroup

	failing sync.Once
	failed  chan struct{}
	cause   error // set before failed is closed

	mu     sync.Mutex // serialises changes
	up     bool       // guarded by mu, as all here
	closed bool

	view         sync.RWMutex // what Status reads, changed with mu held, too
	owner, guest *lane        // guarded by view, as all below; guest is nil while there is one key
	key, former  wgtypes.Key
	past         map[wgtypes.Key]traffic // what devices that have ended had counted of peers
}

// traffic is outer bytes.
type traffic struct{ received, sent uint64 }

// New makes a device that has no socket yet, and takes the TUN: it is closed with the device, also after an error.
func New(t TUN, cfg Config) (*Device, error) { return newDevice(t, conn.NewDefaultBind(), cfg) }

func newDevice(t TUN, bind conn.Bind, cfg Config) (*Device, error) {
	d := &Device{cfg: cfg, failed: make(chan struct{}), past: make(map[wgtypes.Key]traffic)}
	d.m.tun, d.m.bind, d.m.lanes = t, bind, make(map[*lane]struct{})
	d.ended, d.stop = context.WithCancel(context.Background())
	d.watch.Go(d.m.passEvents)
	first := cfg.PrivateKey
	if cfg.FormerKey != (wgtypes.Key{}) {
		first = cfg.FormerKey
	}
	var err error
	if d.owner, err = d.newLane(first); err != nil {
		d.Close()
		return nil, err
	}
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

// Status reads the private keys and all peers.
func (d *Device) Status() (Status, error) {
	d.view.RLock()
	defer d.view.RUnlock()
	var all Status
	at := make(map[wgtypes.Key]int)
	for _, l := range d.lanes() {
		s, err := l.report()
		if err != nil {
			return Status{}, err
		}
		all.ListenPort = max(all.ListenPort, s.ListenPort)
		isFormer := d.guest != nil && l.key == d.former
		if isFormer {
			all.FormerKey = s.PrivateKey
		} else {
			all.PrivateKey = s.PrivateKey
		}
		all.Peers = slices.Grow(all.Peers, len(s.Peers))
		for _, p := range s.Peers {
			p.FormerKey = isFormer && !p.LastHandshake.IsZero()
			if i, ok := at[p.PublicKey]; ok {
				all.Peers[i] = together(all.Peers[i], p)
				continue
			}
			before := d.past[p.PublicKey]
			p.ReceivedBytes, p.SentBytes = p.ReceivedBytes+before.received, p.SentBytes+before.sent
			at[p.PublicKey] = len(all.Peers)
			all.Peers = append(all.Peers, p)
		}
	}
	return all, nil
}

// together is a peer as two devices have it.
func together(a, b PeerStatus) PeerStatus {
	received, sent, keepalive := a.ReceivedBytes+b.ReceivedBytes, a.SentBytes+b.SentBytes, max(a.Keepalive, b.Keepalive)
	if b.LastHandshake.After(a.LastHandshake) || a.LastHandshake.IsZero() && !a.Endpoint.IsValid() {
		a = b
	}
	a.ReceivedBytes, a.SentBytes, a.Keepalive = received, sent, keepalive
	return a
}

// some is how many peers a device is told of at a time: a context that ends is noticed after as many.
const some = 32

// Set removes peers, then adds peers or replaces what the device was told of them; sessions of those that stay go on. Removing
// one that is not there is no error. A prefix that two peers have is the last one's. After an error some of it may have been done.
func (d *Device) Set(ctx context.Context, remove []wgtypes.Key, set []Peer) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.usableLocked(); err != nil {
		return err
	}
	for _, key := range remove {
		for _, l := range d.lanes() {
			l.remove(key)
		}
	}
	p := d.m.pair.Load()
	if p != nil {
		p.routes.remove(remove)
	}
	d.forget(remove)
	ctx, cancel := d.until(ctx)
	defer cancel()
	for chunk := range slices.Chunk(set, some) {
		if err := ctx.Err(); err != nil {
			return err
		}
		var err error
		if p == nil {
			err = d.owner.set(chunk, asTold)
		} else {
			err = p.set(chunk, d.laneOf(d.key))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (d *Device) forget(keys []wgtypes.Key) {
	d.view.Lock()
	defer d.view.Unlock()
	for _, key := range keys {
		delete(d.past, key)
	}
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

func asTold(p Peer) time.Duration { return p.Keepalive }

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
}
