package wggo

import (
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
	dev       *device.Device
	key       wgtypes.Key // guarded by Device.view
	dismissed atomic.Bool // its end is intended

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
}

// newLane makes a device that knows its private key, and reads from the port when it is set up.
func newLane(m *mux, cfg Config, key wgtypes.Key) (*lane, error) {
	l := &lane{
		m: m, key: key, events: make(chan tun.Event, 1), closed: make(chan struct{}), left: make(chan struct{}),
	}
	if !m.add(l) {
		l.in, l.out = newQueue(), newQueue()
	}
	l.dev = device.NewDevice(laneTUN{l}, laneBind{l}, deviceLogger(cfg.Logger))
	if err := l.dev.IpcSet(interfaceText(cfg, key)); err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

// set tells the device of peers, each with the interval of keepalives that the function says.
func (l *lane) set(peers []Peer, keepalive func(Peer) time.Duration) error {
	var text strings.Builder
	for _, p := range peers {
		p.Keepalive = keepalive(p)
		writePeer(&text, p)
	}
	return l.dev.IpcSet(text.String())
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
	fns := make([]conn.ReceiveFunc, sockets)
	for i := range fns {
		fns[i] = b.receiver(i)
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
		if p := b.m.pair.Load(); p != nil && n > 0 {
			p.received(bufs[:n], sizes, eps)
		}
		return n, err
	}
}

// Close closes the port if the lane is its owner.
func (b laneBind) Close() error { return b.m.shut(b.lane) }

func (b laneBind) SetMark(mark uint32) error { return b.m.setMark(mark) }
func (b laneBind) BatchSize() int            { return b.m.bind.BatchSize() }

func (b laneBind) ParseEndpoint(s string) (conn.Endpoint, error) { return b.m.bind.ParseEndpoint(s) }

func (b laneBind) Send(bufs [][]byte, ep conn.Endpoint) error {
	p := b.m.pair.Load()
	if p == nil {
		return b.m.send(bufs, ep)
	}
	p.gate.RLock()
	defer p.gate.RUnlock()
	p.sending(b.lane, bufs)
	return b.m.send(bufs, ep)
}

// laneTUN is the lane as its device's TUN.
type laneTUN struct{ *lane }

var _ tun.Device = laneTUN{}

// Read reads the TUN if the lane is its owner, else what the owner passes on.
func (t laneTUN) Read(bufs [][]byte, sizes []int, offset int) (int, error) {
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
		n, err := t.m.tun.Read(bufs, sizes, offset)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			continue
		case t.leaving.Load() && n > 0:
			t.heir.out.push(bufs, sizes, nil, offset, all(bufs[:n]))
			continue
		case n > 0:
			if p := t.m.pair.Load(); p != nil {
				p.leaves(bufs[:n], sizes, offset)
			}
		case err != nil:
			t.leave.Do(func() { close(t.left) })
		}
		return n, err
	}
}

// quit has nothing to do with the TUN any more, and waits for the end of the device.
func (t laneTUN) quit() (int, error) {
	t.leave.Do(func() { close(t.left) })
	<-t.closed
	return 0, os.ErrClosed
}

// Write takes packets of one peer, which are authentic, and from its addresses.
func (t laneTUN) Write(bufs [][]byte, offset int) (int, error) {
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
