package link

import (
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

var errShort = errors.New("the kernel's message is too short")

// dumpTries is how often a dump is begun again when something changed under it.
const dumpTries = 10

// executor is what a [Conn] needs of a netlink connection; tests put faults in.
type executor interface {
	Execute(netlink.Message) ([]netlink.Message, error)
	Close() error
}

// Conn is a connection to rtnetlink in one network namespace: that of the thread which dialed it. Its methods may be called
// by several goroutines.
type Conn struct {
	netlink executor
	writes  atomic.Uint64
}

// Dial connects. It needs no privilege.
func Dial() (*Conn, error) {
	nl, err := netlink.Dial(unix.NETLINK_ROUTE, nil)
	if err != nil {
		return nil, fmt.Errorf("link: connect to rtnetlink: %w", err)
	}
	// Kernels before 4.12 have no extended answers, and those before 4.20 no strict checks: then errors are terse, and
	// dumps are longer than asked for and sifted here.
	for _, option := range []netlink.ConnOption{netlink.ExtendedAcknowledge, netlink.GetStrictCheck} {
		_ = nl.SetOption(option, true)
	}
	return newConn(nl), nil
}

func newConn(nl executor) *Conn { return &Conn{netlink: nl} }

// Close closes the connection.
func (c *Conn) Close() error { return c.netlink.Close() }

// Writes counts the requests so far that change something; reads are not among them.
func (c *Conn) Writes() uint64 { return c.writes.Load() }

// Privileged returns nil when this process may change the network namespace, else an error that matches os.ErrPermission
// and says what to do. It changes nothing.
func (c *Conn) Privileged() error {
	// The kernel looks at the privilege before anything else (net/core/rtnetlink.c, rtnetlink_rcv_msg), then finds that the
	// request names no interface.
	_, err := c.netlink.Execute(message(unix.RTM_DELLINK, netlink.Acknowledge, linkMessage{}.encode()))
	if errors.Is(err, unix.EPERM) {
		return fmt.Errorf("link: change network interfaces: %w", explain(err))
	}
	return nil
}

// write makes one change.
func (c *Conn) write(kind uint16, flags netlink.HeaderFlags, data []byte) error {
	c.writes.Add(1)
	_, err := c.netlink.Execute(message(kind, flags|netlink.Acknowledge, data))
	return err
}

// read asks one question. A dump that something changed under is asked for again.
func (c *Conn) read(kind uint16, flags netlink.HeaderFlags, data []byte) ([]netlink.Message, error) {
	for range dumpTries {
		answer, err := c.netlink.Execute(message(kind, flags, data))
		if err != nil {
			return nil, err
		}
		if !interrupted(answer) {
			return answer, nil
		}
	}
	return nil, fmt.Errorf("the kernel's answer changed under each of %d readings: %w", dumpTries, unix.EAGAIN)
}

func interrupted(answer []netlink.Message) bool {
	for _, m := range answer {
		if m.Header.Flags&netlink.DumpInterrupted != 0 {
			return true
		}
	}
	return false
}

func message(kind uint16, flags netlink.HeaderFlags, data []byte) netlink.Message {
	return netlink.Message{
		Header: netlink.Header{Type: netlink.HeaderType(kind), Flags: flags | netlink.Request},
		Data:   data,
	}
}

// explain adds to a kernel's error what a person can do about it.
func explain(err error) error {
	switch {
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return fmt.Errorf("%w: run as root or with CAP_NET_ADMIN", err)
	case errors.Is(err, unix.EROFS):
		return fmt.Errorf("%w: this namespace's network cannot be changed from here", err)
	}
	return err
}
