package shapedtun

import (
	"errors"
	"os"

	"golang.zx2c4.com/wireguard/tun"

	"github.com/waylume/waylume/shaping"
)

// Read returns packets whose time has come, one at least, in the manner of tun.Device: each at its offset in bufs, its length
// in sizes. After Close it returns os.ErrClosed; if the wrapped device fails, its error.
func (d *Device) Read(bufs [][]byte, sizes []int, offset int) (int, error) {
	if len(bufs) == 0 {
		return 0, nil
	}
	select {
	case p := <-d.ready:
		sizes[0] = take(p, bufs[0], offset)
	case <-d.closed:
		return 0, os.ErrClosed
	case <-d.broken:
		return 0, d.failed
	}
	for n := 1; n < len(bufs); n++ {
		select {
		case p := <-d.ready:
			sizes[n] = take(p, bufs[n], offset)
		default:
			return n, nil
		}
	}
	return len(bufs), nil
}

func take(p *shaping.Packet, buf []byte, offset int) int {
	n := copy(buf[offset:], p.Data)
	p.Free()
	return n
}

// deliver is the Output of the download: it hands packets to Read.
func (d *Device) deliver(packets []*shaping.Packet) {
	for _, p := range packets {
		select {
		case d.ready <- p:
		case <-d.closed:
			p.Free()
		}
	}
}

// pump reads from the wrapped device until that fails or is closed.
func (d *Device) pump() {
	n := max(d.inner.BatchSize(), 1)
	packets := make([]*shaping.Packet, n)
	bufs, sizes := make([][]byte, n), make([]int, n)
	for i := range packets {
		packets[i], bufs[i] = d.blank()
	}
	defer func() {
		for _, p := range packets {
			p.Free()
		}
	}()
	var r run
	for {
		count, err := d.inner.Read(bufs, sizes, headroom)
		for i := range count {
			packets[i].Data = packets[i].Data[:sizes[i]]
			d.classifyRead(packets[i], &r)
			packets[i], bufs[i] = d.blank()
		}
		r.flush()
		// As in wireguard-go: what was read counts, and the device goes on.
		if err == nil || errors.Is(err, tun.ErrTooManySegments) {
			continue
		}
		d.failed = err
		close(d.broken)
		return
	}
}

// blank returns a packet to read into, and its buffer.
func (d *Device) blank() (*shaping.Packet, []byte) {
	p := d.download.NewPacket(d.mtu)
	buf := p.WithHeadroom()
	return p, buf
}

// classifyRead sends a packet on to its leaf, or past the limits.
func (d *Device) classifyRead(p *shaping.Packet, r *run) {
	info, flow, ok := parse(Download, p.Data)
	if !ok {
		d.malformed.Add(1)
		p.Free()
		return
	}
	if leaf := d.classify(info); leaf != nil && !leaf.download.Unshaped() {
		p.Flow = flow
		r.add(leaf.download, p)
		return
	}
	select {
	case d.ready <- p:
	case <-d.closed:
		p.Free()
	}
}
