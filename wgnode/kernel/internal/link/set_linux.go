package link

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// addrGenModeNone keeps the kernel from giving the interface an IPv6 link-local address (IN6_ADDR_GEN_MODE_NONE).
const addrGenModeNone = 1

// Attributes are what an interface is held to. What is zero is left as it is.
type Attributes struct {
	// MTU is in bytes. The kernel takes IPv6, and its addresses, off an interface with less than 1280.
	MTU int
	// TxQueueLen is the length of queues that have no limit of their own, in packets.
	TxQueueLen int
	// NoLinkLocal keeps the kernel from giving the interface an IPv6 link-local address when it comes up. One that it has
	// stays.
	NoLinkLocal bool
}

// EnsureAttributes holds an interface to what is set in want, in one write if there is a difference.
func (c *Conn) EnsureAttributes(index int, want Attributes) error {
	l, err := c.mustRead(index)
	if err != nil {
		return err
	}
	set := linkMessage{index: index}
	differs := false
	if want.MTU != 0 && l.MTU != want.MTU {
		set.mtu, differs = want.MTU, true
	}
	if want.TxQueueLen != 0 && l.TxQueueLen != want.TxQueueLen {
		set.txQueueLen, differs = want.TxQueueLen, true
	}
	if want.NoLinkLocal && l.hasIPv6 && l.addrGenMode != addrGenModeNone {
		set.addrGenMode, differs = new(uint8(addrGenModeNone)), true
	}
	if !differs {
		return nil
	}
	if err := c.write(unix.RTM_NEWLINK, 0, set.encode()); err != nil {
		return fmt.Errorf("link: set interface %s to %+v: %w", l.Name, want, explain(err))
	}
	return nil
}

// EnsureUp sets an interface up. A WireGuard interface opens its UDP socket then: unix.EADDRINUSE says that its port is
// taken.
func (c *Conn) EnsureUp(index int) error { return c.ensureFlag(index, true) }

// EnsureDown sets an interface down: its routes and its global IPv6 addresses go.
func (c *Conn) EnsureDown(index int) error { return c.ensureFlag(index, false) }

func (c *Conn) ensureFlag(index int, up bool) error {
	l, err := c.mustRead(index)
	if err != nil || l.Up == up {
		return err
	}
	set, word := linkMessage{index: index, change: unix.IFF_UP}, "down"
	if up {
		set.flags, word = unix.IFF_UP, "up"
	}
	if err := c.write(unix.RTM_NEWLINK, 0, set.encode()); err != nil {
		return fmt.Errorf("link: set interface %s %s: %w", l.Name, word, explain(err))
	}
	return nil
}

// ErrNoLink says that there is no interface of that index (any more).
var ErrNoLink = errors.New("no such interface")

func (c *Conn) mustRead(index int) (Link, error) {
	l, ok, err := c.LinkByIndex(index)
	if err == nil && !ok {
		err = fmt.Errorf("link: interface %d: %w: was it deleted?", index, ErrNoLink)
	}
	return l, err
}
