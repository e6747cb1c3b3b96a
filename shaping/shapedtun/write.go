package shapedtun

import (
	"errors"
	"os"

	"github.com/waylume/waylume/shaping"
)

// Write takes packets in the manner of tun.Device, each from its offset in bufs to its end. Those with a limit are copied and
// written when their time has come; an error that the wrapped device has for them then is returned by the next Write. All
// packets are taken, even with an error, unless the device was closed.
func (d *Device) Write(bufs [][]byte, offset int) (int, error) {
	select {
	case <-d.closed:
		return 0, os.ErrClosed
	default:
	}
	work := d.scratch.Get().(*scratch)
	for _, buf := range bufs {
		if d.classifyWrite(buf[offset:], &work.run) {
			work.bufs = append(work.bufs, buf)
		}
	}
	work.run.flush()
	var err error
	if len(work.bufs) > 0 {
		_, err = d.inner.Write(work.bufs, offset)
	}
	d.release(work)
	if late := d.unwritten.Swap(nil); late != nil {
		err = errors.Join(err, *late)
	}
	return len(bufs), err
}

// classifyWrite gives a copy of a packet to its leaf, or reports that it goes past the limits.
func (d *Device) classifyWrite(data []byte, r *run) (direct bool) {
	info, flow, ok := parse(Upload, data)
	if !ok {
		d.malformed.Add(1)
		return false
	}
	leaf := d.classify(info)
	if leaf == nil || leaf.upload.Unshaped() {
		return true
	}
	p := d.upload.NewPacket(len(data))
	copy(p.Data, data)
	p.Flow = flow
	r.add(leaf.upload, p)
	return false
}

// write is the Output of the upload.
func (d *Device) write(packets []*shaping.Packet) {
	work := d.scratch.Get().(*scratch)
	for _, p := range packets {
		work.bufs = append(work.bufs, p.WithHeadroom())
	}
	if _, err := d.inner.Write(work.bufs, headroom); err != nil {
		late := err
		d.unwritten.Store(&late)
	}
	d.release(work)
	for _, p := range packets {
		p.Free()
	}
}

// scratch is what a call of Write works with.
type scratch struct {
	bufs [][]byte
	run  run
}

func (d *Device) release(work *scratch) {
	clear(work.bufs)
	work.bufs = work.bufs[:0]
	d.scratch.Put(work)
}

// run is a run of packets of one leaf, which are enqueued together.
type run struct {
	leaf    *shaping.Leaf
	packets []*shaping.Packet
}

func (r *run) add(leaf *shaping.Leaf, p *shaping.Packet) {
	if r.leaf != leaf {
		r.flush()
		r.leaf = leaf
	}
	r.packets = append(r.packets, p)
}

func (r *run) flush() {
	if len(r.packets) > 0 {
		r.leaf.Enqueue(r.packets...)
	}
	clear(r.packets)
	r.leaf, r.packets = nil, r.packets[:0]
}
