package wggo

import (
	"encoding/binary"
	"errors"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/tun"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

// lane is one device of wireguard-go, with what it has of the port and the TUN: both, if it is the mux's owner; else what the owner
// passes on to it, until it becomes the owner itself.
type lane struct {
	m         *mux
	id        uint32 // of no other lane of the device
	dev       *device.Device
	key       wgtypes.Key // guarded by Device.view
	identity  atomic.Pointer[identity]
	dismissed atomic.Bool          // its end is intended
	indices   indices              // of the handshakes that the device has sent
	present   map[*entry]*presence // guarded by registry.mu
	aside     aside

	// in has messages from the port, out packets from the TUN; nil in a lane that was the owner from the first.
	in, out *queue
	ownsTUN bool // of the one goroutine that reads the TUN: out is at its end
	events  chan tun.Event
	closed  chan struct{} // when the device has let go of its TUN

	heir    *lane // set before leaving: who takes what is read
	leaving atomic.Bool
	left    chan struct{} // when the device will not read the TUN any more
	leave   sync.Once

	open bool // the device has opened its bind; guarded by mux.mu

	flight *flight
	reader *intake     // of the TUN
	deaf   atomic.Bool // the bind is closed, for all that the device has to do with it
}

// newLane makes a device that knows its private key, and reads from the port when it is set up.
func newLane(m *mux, cfg Config, key wgtypes.Key) (*lane, error) {
	l := &lane{
		m: m, id: m.lastLane.Add(1), key: key, present: make(map[*entry]*presence),
		events: make(chan tun.Event, 1), closed: make(chan struct{}), left: make(chan struct{}),
	}
	id, err := newIdentity(key)
	if err != nil {
		return nil, err
	}
	l.identity.Store(id)
	l.flight = newFlight(cfg.InFlight)
	l.reader = l.flight.newIntake(outbound, l.hasLeft)
	if !m.add(l) {
		l.in, l.out = newQueue(), newQueue()
	}
	l.dev = device.NewDevice(laneTUN{l}, laneBind{l}, deviceLogger(cfg.Logger))
	l.flight.dev.Store(l.dev)
	if err := l.dev.IpcSet(interfaceText(cfg, key)); err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

func (l *lane) remove(key wgtypes.Key) { l.dev.RemovePeer(device.NoisePublicKey(key)) }

func (l *lane) report() (Status, error) {
	var answer strings.Builder
	if err := l.dev.IpcGetOperation(&answer); err != nil {
		return Status{}, err
	}
	return parseReport(strings.NewReader(answer.String()))
}

// close ends the device. The port and the TUN are closed with it if the lane is their owner.
func (l *lane) close() {
	l.dismissed.Store(true)
	l.dev.Close()
}

// laneBind is the lane as its device's port.
type laneBind struct{ *lane }

var _ conn.Bind = laneBind{}

// Open opens the port if the lane is its owner. Else it waits behind the owner, which has opened it.
func (b laneBind) Open(port uint16) ([]conn.ReceiveFunc, uint16, error) {
	sockets, port, err := b.m.open(b.lane, port)
	if err != nil {
		return nil, 0, err
	}
	b.deaf.Store(false)
	fns := make([]conn.ReceiveFunc, sockets)
	for i := range fns {
		fns[i] = b.bounded(b.receiver(i))
	}
	return fns, port, nil
}

// receiver receives from one socket of the port, or, while the lane is not the owner, the first receiver what the owner passes on.
func (b laneBind) receiver(i int) conn.ReceiveFunc {
	var socket conn.ReceiveFunc
	return func(bufs [][]byte, sizes []int, eps []conn.Endpoint) (int, error) {
		if socket == nil {
			if b.in != nil && i == 0 {
				if n := b.in.pop(bufs, sizes, eps, 0); n > 0 {
					return n, nil
				}
			} else if b.in != nil {
				<-b.in.over
			}
			if socket = b.m.socket(b.lane, i); socket == nil {
				return 0, net.ErrClosed
			}
		}
		n, err := socket(bufs, sizes, eps)
		if n > 0 {
			b.m.gate.sift(bufs[:n], sizes, eps)
			if p := b.m.pair.Load(); p != nil {
				p.received(bufs[:n], sizes, eps)
			}
		}
		return n, err
	}
}

// bounded receives when there is room for more.
func (b laneBind) bounded(receive conn.ReceiveFunc) conn.ReceiveFunc {
	reader := b.flight.newIntake(inbound, b.deaf.Load)
	return func(bufs [][]byte, sizes []int, eps []conn.Endpoint) (int, error) {
		reader.before(bufs)
		n, err := receive(bufs, sizes, eps)
		reader.after(bufs[:n])
		return n, err
	}
}

// Close closes the port if the lane is its owner.
func (b laneBind) Close() error {
	b.deaf.Store(true)
	return b.m.shut(b.lane)
}

func (b laneBind) SetMark(mark uint32) error { return b.m.setMark(mark) }
func (b laneBind) BatchSize() int            { return b.m.bind.BatchSize() }

func (b laneBind) ParseEndpoint(s string) (conn.Endpoint, error) { return b.m.bind.ParseEndpoint(s) }

func (b laneBind) Send(bufs [][]byte, ep conn.Endpoint) error {
	defer b.flight.through(bufs)
	p := b.m.pair.Load()
	b.sending(bufs, p)
	if p == nil {
		return b.m.send(bufs, ep)
	}
	p.gate.RLock()
	defer p.gate.RUnlock()
	return b.m.send(bufs, ep)
}

// sending learns from what the device sends; a handshake is alone in its batch.
func (l *lane) sending(messages [][]byte, p *pair) {
	if len(messages) != 1 || len(messages[0]) < device.MinMessageSize {
		return
	}
	switch kind := messageType(messages[0]); kind {
	case device.MessageInitiationType, device.MessageResponseType:
		l.indices.add(binary.LittleEndian.Uint32(messages[0][4:]), time.Now())
		if kind == device.MessageResponseType && p != nil {
			p.lookSoon()
		}
	}
}

// laneTUN is the lane as its device's TUN.
type laneTUN struct{ *lane }

var _ tun.Device = laneTUN{}

// Read reads when there is room for more.
func (t laneTUN) Read(bufs [][]byte, sizes []int, offset int) (int, error) {
	t.reader.before(bufs)
	n, err := t.read(bufs, sizes, offset)
	t.reader.after(bufs[:n])
	return n, err
}

// hasLeft reports whether the lane is not to read the TUN any more.
func (l *lane) hasLeft() bool {
	select {
	case <-l.closed:
		return true
	default:
		return l.leaving.Load()
	}
}

// read reads the TUN if the lane is its owner, else what the owner passes on.
func (t laneTUN) read(bufs [][]byte, sizes []int, offset int) (int, error) {
	if t.out != nil && !t.ownsTUN {
		if n := t.out.pop(bufs, sizes, nil, offset); n > 0 {
			return n, nil
		}
		select {
		case <-t.closed:
			return 0, os.ErrClosed
		default:
			t.ownsTUN = true
		}
	}
	for {
		if t.leaving.Load() {
			return t.quit()
		}
		if n := t.took(bufs, sizes, offset); n > 0 {
			return n, nil
		}
		n, err := t.m.tun.Read(bufs, sizes, offset)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			continue
		case t.leaving.Load() && n > 0:
			t.heir.out.push(bufs, sizes, nil, offset, all(bufs[:n]))
			continue
		case n > 0:
			t.m.leaves(bufs[:n], sizes, offset)
		case err != nil:
			t.leave.Do(func() { close(t.left) })
		}
		return n, err
	}
}

// quit has nothing to do with the TUN any more, and waits for the end of the device.
func (t laneTUN) quit() (int, error) {
	t.putNothingAside()
	t.leave.Do(func() { close(t.left) })
	<-t.closed
	return 0, os.ErrClosed
}

// Write takes packets of one peer, which are authentic, and from its addresses.
func (t laneTUN) Write(bufs [][]byte, offset int) (int, error) {
	defer t.flight.through(bufs)
	if p := t.m.pair.Load(); p != nil {
		p.came(t.lane, bufs[0][offset:])
	}
	return t.m.tun.Write(bufs, offset)
}

func (t laneTUN) File() *os.File           { return nil }
func (t laneTUN) MTU() (int, error)        { return t.m.tun.MTU() }
func (t laneTUN) Name() (string, error)    { return t.m.tun.Name() }
func (t laneTUN) BatchSize() int           { return t.m.tun.BatchSize() }
func (t laneTUN) Events() <-chan tun.Event { return t.events }

// Close lets the device's reader go, and closes the TUN if the lane is its owner.
func (t laneTUN) Close() error {
	if !t.m.remove(t.lane) {
		return nil
	}
	t.putNothingAside()
	if t.out != nil {
		t.out.close()
	}
	if t.m.owned(t.lane) {
		return t.m.tun.Close()
	}
	return nil
}

// all picks all packets.
func all(bufs [][]byte) []int {
	picked := make([]int, len(bufs))
	for i := range picked {
		picked[i] = i
	}
	return picked
}
