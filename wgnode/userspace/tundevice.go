package userspace

import (
	"os"
	"sync"

	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/tun"

	"github.com/waylume/waylume/shaping"
	"github.com/waylume/waylume/wgnode/internal/wggo"
)

// tunDevice is what wireguard-go takes for a TUN interface: plaintext packets for peers come out of the handoff, those
// from peers go to fromPeer.
type tunDevice struct {
	mtu      int
	packets  *handoff
	fromPeer func(bufs [][]byte, offset int)
	events   chan tun.Event // carries nothing: the dataplane itself says when the device goes up
	once     sync.Once
	batch    [conn.IdealBatchSize]*shaping.Packet // of the one goroutine that reads
}

var _ wggo.TUN = (*tunDevice)(nil)

func newTunDevice(mtu int, packets *handoff, fromPeer func([][]byte, int)) *tunDevice {
	return &tunDevice{mtu: mtu, packets: packets, fromPeer: fromPeer, events: make(chan tun.Event)}
}

// File is nil: there is no descriptor behind this device.
func (t *tunDevice) File() *os.File { return nil }

// Read fills bufs with the next packets for peers.
func (t *tunDevice) Read(bufs [][]byte, sizes []int, offset int) (int, error) {
	batch := t.batch[:min(len(bufs), len(t.batch))]
	n, err := t.packets.pop(batch)
	if err != nil {
		return 0, err
	}
	for i, pkt := range batch[:n] {
		sizes[i] = copy(bufs[i][offset:], pkt.Data)
		pkt.Free()
		batch[i] = nil
	}
	return n, nil
}

// Interrupt implements [wggo.TUN].
func (t *tunDevice) Interrupt(on bool) error {
	t.packets.hold(on)
	return nil
}

// Write hands packets from peers to the packet path. What the path drops is not an error.
func (t *tunDevice) Write(bufs [][]byte, offset int) (int, error) {
	t.fromPeer(bufs, offset)
	return len(bufs), nil
}

func (t *tunDevice) MTU() (int, error)        { return t.mtu, nil }
func (t *tunDevice) Name() (string, error)    { return "waylume", nil }
func (t *tunDevice) Events() <-chan tun.Event { return t.events }
func (t *tunDevice) BatchSize() int           { return len(t.batch) }

// Close lets the device's reader go.
func (t *tunDevice) Close() error {
	t.once.Do(func() {
		t.packets.close()
		close(t.events)
	})
	return nil
}
