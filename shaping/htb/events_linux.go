package htb

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"syscall"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// events hear of each qdisc and class that somebody makes, changes or deletes: the kernel tells it before who asked for it has the
// answer (net/sched/sch_api.c, qdisc_notify), and says so if it has lost some.
type events struct {
	socket *netlink.Conn
	raw    syscall.RawConn
	buffer []byte
}

func listen(netns int) (*events, error) {
	socket, err := netlink.Dial(unix.NETLINK_ROUTE, &netlink.Config{NetNS: netns, Groups: 1 << (unix.RTNLGRP_TC - 1)})
	if err != nil {
		return nil, err
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return nil, errors.Join(err, socket.Close())
	}
	return &events{socket: socket, raw: raw, buffer: make([]byte, 32<<10)}, nil
}

func (e *events) close() error { return e.socket.Close() }

// any reports whether something on the devices may have changed since it was last called. It waits for nothing.
func (e *events) any(devices []Device) (changed bool, err error) {
	failed := e.raw.Read(func(fd uintptr) bool {
		for {
			var n int
			switch n, err = unix.Read(int(fd), e.buffer); {
			case err == nil:
				changed = changed || concerns(e.buffer[:n], devices)
			case errors.Is(err, unix.EAGAIN):
				err = nil
				return true
			case errors.Is(err, unix.ENOBUFS): // some are lost
				changed = true
			case !errors.Is(err, unix.EINTR):
				return true
			}
		}
	})
	if err = errors.Join(failed, err); err != nil {
		return true, fmt.Errorf("listen for changes: %w", err)
	}
	return changed, nil
}

// concerns reports whether a datagram is about one of the devices. All messages of one are about the same (qdisc_notify).
func concerns(datagram []byte, devices []Device) bool {
	if len(datagram) < unix.SizeofNlMsghdr+tcmsgLen {
		return true // none that is known
	}
	index := int(int32(binary.NativeEndian.Uint32(datagram[unix.SizeofNlMsghdr+4:])))
	return slices.ContainsFunc(devices, func(d Device) bool { return d.Index == index })
}
