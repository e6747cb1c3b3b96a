package htb

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/florianl/go-tc"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// operation is one kind of request that writes.
type operation uint8

const (
	addQdisc operation = iota
	replaceQdisc
	changeQdisc  // what is there already
	replaceClass // or add
	deleteClass
)

// kernel is the traffic control of a network namespace. Its methods are not called at the same time.
type kernel interface {
	// write carries out one request. Errors match the errno.
	write(operation, *tc.Object) error
	// dump calls the functions for what is on the devices. Without one for qdiscs, which take most of the time, it reads none.
	dump(devices []Device, qdisc func(device int, q seenQdisc), class func(device int, c seenClass)) error
	// changed reports whether anybody, also who writes here, may have changed a qdisc or a class of the devices since it was last called.
	changed(devices []Device) (bool, error)
	close() error
}

type seenQdisc struct {
	handle, parent uint32
	kind           string
	queue          queueParams
	defaultClass   uint32 // of an htb
}

type seenClass struct {
	id, parent uint32
	queue      uint32 // its handle; 0 where the kernel's default is, or none
	params     classParams
}

// socket is the kernel over netlink. It writes through go-tc, but for a tbf, and reads by itself: go-tc fails for the qdiscs of all devices
// as soon as one anywhere is of a kind or has an attribute that it does not know.
type socket struct {
	tc     *tc.Tc
	reader *netlink.Conn
	events *events
}

func dial(netns int) (kernel, error) {
	writer, err := tc.Open(&tc.Config{NetNS: netns})
	if err != nil {
		return nil, err
	}
	// The kernel begins each message of a dump with a walk over what it has shown already: the fewer, the better. It fills
	// 32 KiB (net/netlink/af_netlink.c, netlink_recvmsg).
	reader, err := netlink.Dial(unix.NETLINK_ROUTE, &netlink.Config{NetNS: netns, MessageBufferSize: 64 << 10})
	if err != nil {
		return nil, errors.Join(err, writer.Close())
	}
	events, err := listen(netns)
	if err != nil {
		return nil, errors.Join(err, reader.Close(), writer.Close())
	}
	return &socket{tc: writer, reader: reader, events: events}, nil
}

func (s *socket) close() error { return errors.Join(s.tc.Close(), s.reader.Close(), s.events.close()) }

func (s *socket) changed(devices []Device) (bool, error) { return s.events.any(devices) }

func (s *socket) write(op operation, o *tc.Object) error {
	if o.Kind == "tbf" {
		return s.writeTbf(op, o)
	}
	switch op {
	case addQdisc:
		return s.tc.Qdisc().Add(o)
	case replaceQdisc:
		return s.tc.Qdisc().Replace(o)
	case changeQdisc:
		return s.tc.Qdisc().Change(o)
	case replaceClass:
		return s.tc.Class().Replace(o)
	default:
		return s.tc.Class().Delete(o)
	}
}

func (s *socket) dump(devices []Device, qdisc func(int, seenQdisc), class func(int, seenClass)) error {
	if qdisc != nil {
		if err := s.dumpQdiscs(devices, qdisc); err != nil {
			return err
		}
	}
	for i, d := range devices {
		// Those of qdisc 1: alone: an fq_codel shows its flows as classes, too.
		err := s.each(unix.RTM_GETTCLASS, tcmsg{ifindex: uint32(d.Index), parent: rootHandle}, func(m tcmsg, attributes []byte) error {
			c := seenClass{id: m.handle, parent: m.parent, queue: m.info}
			err := parse(attributes, func(kind string, options []byte) error {
				if kind != "htb" {
					return nil
				}
				return c.parse(options)
			})
			class(i, c)
			return err
		})
		if err != nil {
			return fmt.Errorf("device %s: %w", d.Name, err)
		}
	}
	return nil
}

// dumpQdiscs reads those of the devices. The kernel shows the qdiscs of all devices, and begins each message of the dump with a walk
// over those that it has shown: with thousands of leaves that takes most of the time of a dump of all.
func (s *socket) dumpQdiscs(devices []Device, qdisc func(int, seenQdisc)) error {
	index := make(map[uint32]int, len(devices))
	for i, d := range devices {
		index[uint32(d.Index)] = i
	}
	return s.each(unix.RTM_GETQDISC, tcmsg{}, func(m tcmsg, attributes []byte) error {
		i, ok := index[m.ifindex]
		if !ok {
			return nil
		}
		q := seenQdisc{handle: m.handle, parent: m.parent}
		err := parse(attributes, func(kind string, options []byte) error {
			q.kind = kind
			return q.parse(options)
		})
		qdisc(i, q)
		return err
	})
}

// tcmsg is struct tcmsg of linux/rtnetlink.h.
type tcmsg struct{ ifindex, handle, parent, info uint32 }

const tcmsgLen = 20

func parseTcmsg(b []byte) tcmsg {
	number := binary.NativeEndian.Uint32
	return tcmsg{ifindex: number(b[4:]), handle: number(b[8:]), parent: number(b[12:]), info: number(b[16:])}
}

// each dumps, and calls fn for each object.
func (s *socket) each(kind netlink.HeaderType, request tcmsg, fn func(tcmsg, []byte) error) error {
	data := make([]byte, tcmsgLen)
	binary.NativeEndian.PutUint32(data[4:], request.ifindex)
	binary.NativeEndian.PutUint32(data[8:], request.handle)
	binary.NativeEndian.PutUint32(data[12:], request.parent)
	_, err := s.reader.Send(netlink.Message{Header: netlink.Header{Type: kind, Flags: netlink.Request | netlink.Dump}, Data: data})
	if err != nil {
		return err
	}
	var first error
	for m, err := range s.reader.ReceiveIter() {
		switch {
		case err != nil:
			return err
		case first != nil: // what is left must be read, or the next request would get it
		case len(m.Data) < tcmsgLen:
			first = fmt.Errorf("netlink: a message of %d bytes is too short", len(m.Data))
		default:
			first = fn(parseTcmsg(m.Data), m.Data[tcmsgLen:])
		}
	}
	return first
}

// attributes calls fn for each attribute, whose type and data it gets.
func attributes(data []byte, fn func(*netlink.AttributeDecoder)) error {
	d, err := netlink.NewAttributeDecoder(data)
	if err != nil {
		return err
	}
	for d.Next() {
		fn(d)
	}
	return d.Err()
}

// parse finds kind and options of an object.
func parse(data []byte, fn func(kind string, options []byte) error) error {
	var kind string
	var options []byte
	err := attributes(data, func(d *netlink.AttributeDecoder) {
		switch d.Type() {
		case unix.TCA_KIND:
			kind = d.String()
		case unix.TCA_OPTIONS:
			options = d.Bytes()
		}
	})
	if err != nil {
		return err
	}
	return fn(kind, options)
}

// Attributes of linux/pkt_sched.h.
const (
	htbParms, htbInit, htbRate64, htbCeil64 = 1, 2, 6, 7

	fqCodelTarget, fqCodelLimit, fqCodelInterval, fqCodelFlows, fqCodelQuantum, fqCodelMemory = 1, 2, 3, 5, 6, 9
)

func (q *seenQdisc) parse(options []byte) error {
	q.queue.kind = queueForeign
	switch q.kind {
	case "bfifo":
		if len(options) >= 4 {
			q.queue = queueParams{kind: queueBfifo, limit: binary.NativeEndian.Uint32(options)}
		}
	case "tbf":
		var err error
		q.queue, err = parseTbf(options)
		return err
	case "fq_codel":
		q.queue.kind = queueFqCodel
		fields := map[uint16]*uint32{
			fqCodelTarget: &q.queue.targetMicros, fqCodelInterval: &q.queue.everMicros, fqCodelLimit: &q.queue.limit,
			fqCodelFlows: &q.queue.flows, fqCodelQuantum: &q.queue.quantum, fqCodelMemory: &q.queue.memory,
		}
		return attributes(options, func(d *netlink.AttributeDecoder) {
			if field := fields[d.Type()]; field != nil {
				*field = d.Uint32()
			}
		})
	case "htb":
		return attributes(options, func(d *netlink.AttributeDecoder) {
			if glob := d.Bytes(); d.Type() == htbInit && len(glob) >= 12 {
				q.defaultClass = binary.NativeEndian.Uint32(glob[8:]) // struct tc_htb_glob
			}
		})
	}
	return nil
}

func (c *seenClass) parse(options []byte) error {
	return attributes(options, func(d *netlink.AttributeDecoder) {
		switch d.Type() {
		case htbParms: // struct tc_htb_opt: two struct tc_ratespec of 12 bytes, and seven numbers
			if b := d.Bytes(); len(b) >= 44 {
				c.params.rate = max(c.params.rate, uint64(binary.NativeEndian.Uint32(b[8:])))
				c.params.ceil = max(c.params.ceil, uint64(binary.NativeEndian.Uint32(b[20:])))
				c.params.buffer, c.params.cbuffer, c.params.quantum = binary.NativeEndian.Uint32(b[24:]), binary.NativeEndian.Uint32(b[28:]), binary.NativeEndian.Uint32(b[32:])
				c.params.prio = binary.NativeEndian.Uint32(b[40:])
			}
		case htbRate64:
			c.params.rate = d.Uint64()
		case htbCeil64:
			c.params.ceil = d.Uint64()
		}
	})
}
