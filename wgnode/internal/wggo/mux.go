package wggo

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/tun"
)

// mux shares a port and a TUN between lanes, the first of which is their owner.
type mux struct {
	tun      TUN
	bind     conn.Bind
	gate     *gate
	caller   *caller
	pair     atomic.Pointer[pair] // nil while there is one lane
	lastLane atomic.Uint32

	holding sync.Mutex
	holds   int // how many want the TUN not to be waited for; guarded by holding

	mu      sync.Mutex
	owner   *lane // guarded by mu, as all below
	lanes   map[*lane]struct{}
	sockets []conn.ReceiveFunc // of the open port
	port    uint16
	mark    uint32
}

// add makes a lane known, and reports whether it is the owner, as the first one is.
func (m *mux) add(l *lane) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lanes[l] = struct{}{}
	if m.owner == nil {
		m.owner = l
	}
	return m.owner == l
}

// remove ends a lane's events, and reports whether it was there.
func (m *mux) remove(l *lane) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, ok := m.lanes[l]
	if ok {
		delete(m.lanes, l)
		close(l.events)
		close(l.closed)
	}
	return ok
}

func (m *mux) owned(l *lane) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.owner == l
}

// passEvents tells every lane of the TUN's events, until that is closed. A lane that has one to look at yet looks at all then.
func (m *mux) passEvents() {
	for event := range m.tun.Events() {
		if event&tun.EventMTUUpdate == 0 {
			continue
		}
		m.mu.Lock()
		for l := range m.lanes {
			select {
			case l.events <- tun.EventMTUUpdate:
			default:
			}
		}
		m.mu.Unlock()
	}
}

// open returns how many sockets the port has.
func (m *mux) open(l *lane, port uint16) (sockets int, actual uint16, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.owner == l && m.sockets == nil {
		if m.sockets, m.port, err = m.bind.Open(port); err != nil {
			return 0, 0, err
		}
	}
	if m.sockets == nil {
		return 0, 0, errors.New("the port is not open")
	}
	l.open = true
	return len(m.sockets), m.port, nil
}

// shut has a lane's receivers end, and closes the port if the lane is the owner. wireguard-go also shuts what was never opened.
func (m *mux) shut(l *lane) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !l.open {
		return nil
	}
	l.open = false
	if l.in != nil {
		l.in.close()
	}
	if m.owner != l || m.sockets == nil {
		return nil
	}
	m.sockets = nil
	return m.bind.Close()
}

// socket is one of the port's if the lane is the owner, else nil.
func (m *mux) socket(l *lane, i int) conn.ReceiveFunc {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.owner != l || m.sockets == nil || !l.open {
		return nil
	}
	return m.sockets[i]
}

func (m *mux) setMark(mark uint32) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mark = mark
	return m.bind.SetMark(mark)
}

// hold adds to those who want the TUN not to be waited for, or takes from them.
func (m *mux) hold(change int) error {
	m.holding.Lock()
	defer m.holding.Unlock()
	before := m.holds
	m.holds += change
	if before != 0 && m.holds != 0 {
		return nil
	}
	err := m.tun.Interrupt(m.holds > 0)
	if err != nil && change > 0 {
		m.holds = before
	}
	return err
}

// leaves passes on what the owner has read from the TUN for the guest's peers, and for those that have to be brought in first.
func (m *mux) leaves(bufs [][]byte, sizes []int, offset int) {
	var guest *lane
	if p := m.pair.Load(); p != nil {
		guest = p.guest
	}
	if picked := m.caller.leaves(bufs, sizes, offset, guest); len(picked) > 0 {
		guest.out.push(bufs, sizes, nil, offset, picked)
		for _, i := range picked {
			sizes[i] = 0
		}
	}
}

// someLeft has keepalives be seen to: who has left one lane may be in the other yet.
func (m *mux) someLeft() {
	if p := m.pair.Load(); p != nil {
		p.moved.Store(true)
	}
}

func (m *mux) actualPort() uint16 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.port
}

// reopenPatience is how long the port is tried to be opened again.
const reopenPatience = 2 * time.Second

// bequeath makes a lane the owner. The port is closed and opened anew, which ends the receivers of the former owner: what its
// sockets had received and nobody read is lost, and what arrives in the fraction of a millisecond between.
func (m *mux) bequeath(ctx context.Context, heir *lane) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.owner = heir
	if m.sockets == nil {
		return nil
	}
	want := len(m.sockets)
	m.sockets = nil
	if err := m.bind.Close(); err != nil {
		return fmt.Errorf("close UDP port %d: %w", m.port, err)
	}
	for began := time.Now(); ; time.Sleep(time.Millisecond) {
		sockets, err := m.reopenLocked(want)
		if err == nil {
			m.sockets = sockets
			return nil
		}
		if ctx.Err() != nil || time.Since(began) > reopenPatience {
			return fmt.Errorf("open UDP port %d again: %w", m.port, err)
		}
	}
}

func (m *mux) reopenLocked(want int) ([]conn.ReceiveFunc, error) {
	sockets, _, err := m.bind.Open(m.port)
	if err != nil {
		return nil, err
	}
	if len(sockets) != want {
		err = fmt.Errorf("it has %d sockets, and had %d", len(sockets), want)
	} else if m.mark != 0 {
		err = m.bind.SetMark(m.mark)
	}
	if err != nil {
		return nil, errors.Join(err, m.bind.Close())
	}
	return sockets, nil
}

// sendBurst sends messages to an endpoint, which may say from which address. When the system has no way from there any more, they go
// from the one that it chooses. wireguard-go's own watch on routes, which sees to that, and also when there is a better way than
// the one that there is, is for a bind that nothing is around.
func (m *mux) sendBurst(bufs [][]byte, ep conn.Endpoint) error {
	err := m.bind.Send(bufs, ep)
	if err == nil || !sourceGone(err) {
		return err
	}
	anew, parseErr := m.bind.ParseEndpoint(ep.DstToString())
	if parseErr != nil {
		return err
	}
	return m.bind.Send(bufs, anew)
}

// sourceGone reports an error that Linux gives for a source address (IP_PKTINFO, IPV6_PKTINFO) that is not the host's any more, or
// for one of a link that is down (both ENETUNREACH, of IPv6 EINVAL) or gone (of IPv6 ENODEV).
func sourceGone(err error) bool {
	return errors.Is(err, syscall.ENETUNREACH) || errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENODEV)
}
