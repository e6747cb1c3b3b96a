package wggo

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/tun"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

// pipe is a TUN in memory: what is put can be read, what is written is given to a function.
type pipe struct {
	got    func(packet []byte)
	events chan tun.Event

	mu     sync.Mutex
	some   sync.Cond
	queue  [][]byte // guarded by mu, as all below
	held   bool
	closed bool
	stuck  error // of Interrupt
}

func newPipe(got func([]byte)) *pipe {
	p := &pipe{got: got, events: make(chan tun.Event)}
	p.some.L = &p.mu
	return p
}

func (p *pipe) put(packet []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.queue = append(p.queue, packet)
	p.some.Broadcast()
}

func (p *pipe) Read(bufs [][]byte, sizes []int, offset int) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.queue) == 0 && !p.held && !p.closed {
		p.some.Wait()
	}
	switch {
	case p.closed:
		return 0, os.ErrClosed
	case p.held:
		return 0, os.ErrDeadlineExceeded
	}
	n := min(len(bufs), len(p.queue))
	for i, packet := range p.queue[:n] {
		sizes[i] = copy(bufs[i][offset:], packet)
	}
	p.queue = p.queue[n:]
	return n, nil
}

func (p *pipe) Write(bufs [][]byte, offset int) (int, error) {
	for _, b := range bufs {
		p.got(append([]byte(nil), b[offset:]...))
	}
	return len(bufs), nil
}

func (p *pipe) Interrupt(on bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.held = on
	p.some.Broadcast()
	return p.stuck
}

func (p *pipe) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed {
		p.closed = true
		close(p.events)
		p.some.Broadcast()
	}
	return nil
}

func (p *pipe) File() *os.File           { return nil }
func (p *pipe) MTU() (int, error)        { return 1420, nil }
func (p *pipe) Name() (string, error)    { return "pipe", nil }
func (p *pipe) Events() <-chan tun.Event { return p.events }
func (p *pipe) BatchSize() int           { return conn.IdealBatchSize }

// packet is the shortest that carries a number.
func packet(from, to netip.Addr, number uint64) []byte {
	b := make([]byte, 28)
	b[0] = 0x45
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	copy(b[12:], from.AsSlice())
	copy(b[16:], to.AsSlice())
	binary.BigEndian.PutUint64(b[20:], number)
	return b
}

func number(packet []byte) uint64 { return binary.BigEndian.Uint64(packet[20:]) }

var gateway = netip.MustParseAddr("10.0.0.1")

// node is a device whose far side sends back what comes.
type node struct {
	*Device
	t    *testing.T
	tun  *pipe
	port uint16
}

func newKey(t testing.TB) wgtypes.Key {
	t.Helper()
	key, err := wgtypes.GeneratePrivateKey()
	require.NoError(t, err)
	return key
}

// newNode makes a device that is up, without peers.
func newNode(t *testing.T, key, former wgtypes.Key) *node {
	t.Helper()
	return newNodeWith(t, Config{PrivateKey: key, FormerKey: former})
}

func newNodeWith(t *testing.T, cfg Config) *node {
	t.Helper()
	n := &node{t: t}
	n.tun = newPipe(func(b []byte) {
		from, to := addrs(b)
		n.tun.put(packet(to, from, number(b)))
	})
	var err error
	n.Device, err = New(n.tun, cfg)
	require.NoError(t, err)
	t.Cleanup(n.Close)
	n.port, err = n.Up()
	require.NoError(t, err)
	return n
}

func (n *node) setKeys(key, former wgtypes.Key, phones ...*phone) {
	n.t.Helper()
	require.NoError(n.t, n.SetKeys(n.t.Context(), key, former, peers(phones...)))
}

// active is how many peers are in devices.
func (n *node) active() int {
	n.t.Helper()
	s, err := n.Status()
	require.NoError(n.t, err)
	return s.Active
}

// empties waits until nobody is in a device.
func (n *node) empties() {
	n.t.Helper()
	require.Eventually(n.t, func() bool { return n.active() == 0 }, patience, 5*time.Millisecond)
}

// of is the status of a phone.
func (n *node) of(p *phone) PeerStatus {
	n.t.Helper()
	s, err := n.Status()
	require.NoError(n.t, err)
	for _, has := range s.Peers {
		if has.PublicKey == p.key.PublicKey() {
			return has
		}
	}
	require.Fail(n.t, "the peer is not there")
	return PeerStatus{}
}

// phone is a peer: stock wireguard-go.
type phone struct {
	t     *testing.T
	key   wgtypes.Key
	addr  netip.Addr
	tun   *pipe
	dev   *device.Device
	got   chan uint64
	count atomic.Uint64
}

var lastAddr atomic.Uint32

func newPhone(t *testing.T) *phone {
	i := lastAddr.Add(1) + 1
	return &phone{t: t, key: newKey(t), addr: netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), got: make(chan uint64, 1<<16)}
}

func peers(phones ...*phone) []Peer {
	var all []Peer
	for _, p := range phones {
		all = append(all, Peer{PublicKey: p.key.PublicKey(), AllowedIPs: []netip.Prefix{netip.PrefixFrom(p.addr, 32)}})
	}
	return all
}

// connect switches the phone on, with a public key of the node's; it shakes hands when it has something to send.
func (p *phone) connect(server wgtypes.Key, port uint16, more ...string) {
	p.t.Helper()
	p.off()
	time.Sleep(20 * time.Millisecond) // a handshake's timestamp is that coarse
	p.tun = newPipe(func(b []byte) { p.count.Add(1); p.got <- number(b) })
	p.dev = device.NewDevice(p.tun, conn.NewDefaultBind(), device.NewLogger(device.LogLevelSilent, ""))
	p.t.Cleanup(p.off)
	text := fmt.Sprintf("private_key=%s\npublic_key=%s\nendpoint=127.0.0.1:%d\nallowed_ip=0.0.0.0/0\n", hexKey(p.key), hexKey(server), port)
	for _, line := range more {
		text += line + "\n"
	}
	require.NoError(p.t, p.dev.IpcSet(text))
	require.NoError(p.t, p.dev.Up())
}

func (p *phone) off() {
	if p.dev != nil {
		p.dev.Close()
		p.dev = nil
	}
}

var lastNumber atomic.Uint64

// says has a message go to the node and back, within a time, and reports whether it did.
func (p *phone) says(within time.Duration) bool {
	const again = 200 * time.Millisecond
	first := lastNumber.Load() + 1
	for deadline := time.Now().Add(within); time.Now().Before(deadline); {
		p.tun.put(packet(p.addr, gateway, lastNumber.Add(1)))
		timeout := time.After(min(again, time.Until(deadline)))
		for waiting := true; waiting; {
			select {
			case n := <-p.got:
				if n >= first {
					return true
				}
			case <-timeout:
				waiting = false
			}
		}
	}
	return false
}

const (
	patience = 20 * time.Second
	moment   = 600 * time.Millisecond
)

// talks requires that the phone reaches the node and is reached.
func (p *phone) talks() {
	p.t.Helper()
	require.True(p.t, p.says(patience), "nothing comes back")
}

// report is what the phone's own device says of the node.
func (p *phone) report() (Status, PeerStatus) {
	p.t.Helper()
	s, err := (&lane{dev: p.dev}).report()
	require.NoError(p.t, err)
	require.Len(p.t, s.Peers, 1)
	return s, s.Peers[0]
}

// shaken is when the phone has shaken hands last, as the phone knows it.
func (p *phone) shaken() time.Time {
	p.t.Helper()
	_, node := p.report()
	return node.LastHandshake
}
