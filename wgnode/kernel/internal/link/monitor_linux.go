package link

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Kinds is a set of kinds of things that changed.
type Kinds uint8

const (
	// Links: an interface came, went, or changed its name, flags, MTU or alias.
	Links Kinds = 1 << iota
	// Addresses came or went.
	Addresses
	// Routes came or went.
	Routes
	// Qdiscs came or went, or a class was removed. New and changed classes are not told, nor are new qdiscs below classes:
	// they are many, and ours.
	Qdiscs
)

// Changes is what happened since the last report.
type Changes struct {
	// Of holds the kinds of changes by interface index. Links and addresses are told of every interface, routes and qdiscs
	// of those watched.
	Of map[int]Kinds
	// Lost reports that the kernel had more to say than could be kept: anything may have changed.
	Lost bool
}

// Any reports whether something of these kinds changed, or may have, on some interface.
func (c Changes) Any(kinds Kinds) bool {
	for _, k := range c.Of {
		if k&kinds != 0 {
			return true
		}
	}
	return c.Lost
}

// On reports whether something of these kinds changed, or may have, on one interface.
func (c Changes) On(index int, kinds Kinds) bool { return c.Lost || c.Of[index]&kinds != 0 }

const (
	// What comes within quiet of the one before joins its report, for at most longest.
	quiet   = 10 * time.Millisecond
	longest = 100 * time.Millisecond
	// afterError is the pause after a failure that is neither overflow nor close, so that one which lasts takes no CPU.
	afterError = time.Second
	// monitorBuffer is the socket's receive buffer in bytes: some thousands of messages.
	monitorBuffer = 1 << 20
)

// source is what a [Monitor] needs of a netlink connection; tests put faults in.
type source interface {
	Receive() ([]netlink.Message, error)
	SetReadDeadline(time.Time) error
	Close() error
}

// Monitor tells what changes in a network namespace, by whomever: also by this process.
type Monitor struct {
	source  source
	report  func(Changes)
	watched atomic.Pointer[map[int]bool]

	closeOnce sync.Once
	closing   chan struct{}
	done      chan struct{}
}

// NewMonitor begins to listen, and from then on calls report from one goroutine, changes that come together in one call.
// What happens while report runs is told by the next call. It needs no privilege.
func NewMonitor(report func(Changes)) (*Monitor, error) {
	nl, err := netlink.Dial(unix.NETLINK_ROUTE, nil)
	if err != nil {
		return nil, fmt.Errorf("link: connect to rtnetlink: %w", err)
	}
	if err := prepare(nl); err != nil {
		_ = nl.Close()
		return nil, fmt.Errorf("link: listen for changes: %w", err)
	}
	return newMonitor(nl, report), nil
}

func newMonitor(s source, report func(Changes)) *Monitor {
	m := &Monitor{source: s, report: report, closing: make(chan struct{}), done: make(chan struct{})}
	m.Watch()
	go m.run()
	return m
}

// prepare takes only the messages that a monitor looks at, and those before joining a group.
func prepare(nl *netlink.Conn) error {
	filter, err := monitorFilter()
	if err != nil {
		return err
	}
	if err := nl.SetBPF(filter); err != nil {
		return err
	}
	if err := nl.SetReadBuffer(monitorBuffer); err != nil {
		return err
	}
	for _, group := range []uint32{
		unix.RTNLGRP_LINK, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR,
		unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV6_ROUTE, unix.RTNLGRP_TC,
	} {
		if err := nl.JoinGroup(group); err != nil {
			return err
		}
	}
	return nil
}

// Watch sets the interfaces whose routes and qdiscs are told of.
func (m *Monitor) Watch(indexes ...int) {
	watched := make(map[int]bool, len(indexes))
	for _, index := range indexes {
		watched[index] = true
	}
	m.watched.Store(&watched)
}

// Close ends the monitor; report is not called after it has returned. It must not be called by report, which it waits for.
func (m *Monitor) Close() error {
	var err error
	m.closeOnce.Do(func() {
		close(m.closing)
		err = m.source.Close()
	})
	<-m.done
	return err
}

func (m *Monitor) run() {
	defer close(m.done)
	for {
		changes := Changes{Of: make(map[int]Kinds)}
		broken := m.collect(&changes)
		select {
		case <-m.closing:
			return
		default:
		}
		if changes.Lost || len(changes.Of) > 0 {
			m.report(changes)
		}
		if broken {
			m.pause()
		}
	}
}

func (m *Monitor) pause() {
	timer := time.NewTimer(afterError)
	defer timer.Stop()
	select {
	case <-m.closing:
	case <-timer.C:
	}
}

// collect waits for a first change, then for more until it has been quiet. It reports whether the source is broken, so that
// anything may have changed.
func (m *Monitor) collect(changes *Changes) (broken bool) {
	var began, deadline time.Time
	for began.IsZero() || time.Since(began) < longest {
		err := m.source.SetReadDeadline(deadline)
		var messages []netlink.Message
		if err == nil {
			messages, err = m.source.Receive()
		}
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return false
		case errors.Is(err, unix.ENOBUFS):
			changes.Lost = true
		case err != nil:
			changes.Lost = true
			return true
		}
		for _, message := range messages {
			m.note(message, changes)
		}
		// What is not told of must not put off what is.
		if began.IsZero() && (changes.Lost || len(changes.Of) > 0) {
			began = time.Now()
		}
		if !began.IsZero() {
			deadline = time.Now().Add(quiet)
		}
	}
	return false
}

func (m *Monitor) note(message netlink.Message, changes *Changes) {
	kind, index, ok := decodeChange(message)
	if !ok || kind&(Routes|Qdiscs) != 0 && !(*m.watched.Load())[index] {
		return
	}
	changes.Of[index] |= kind
}

// decodeChange says what a message is about.
func decodeChange(m netlink.Message) (kind Kinds, index int, ok bool) {
	switch uint16(m.Header.Type) {
	case unix.RTM_NEWLINK, unix.RTM_DELLINK:
		kind = Links
	case unix.RTM_NEWADDR, unix.RTM_DELADDR:
		kind = Addresses
	case unix.RTM_NEWQDISC, unix.RTM_DELQDISC, unix.RTM_DELTCLASS:
		kind = Qdiscs
	case unix.RTM_NEWROUTE, unix.RTM_DELROUTE:
		if len(m.Data) < unix.SizeofRtMsg {
			return 0, 0, false
		}
		ad, err := netlink.NewAttributeDecoder(m.Data[unix.SizeofRtMsg:])
		if err != nil {
			return 0, 0, false
		}
		for ad.Next() {
			if ad.Type() == unix.RTA_OIF {
				index = int(ad.Uint32())
			}
		}
		return Routes, index, ad.Err() == nil
	default:
		return 0, 0, false
	}
	// ifinfomsg, ifaddrmsg and tcmsg all have the index in the same place.
	if len(m.Data) < 8 {
		return 0, 0, false
	}
	return kind, int(int32(binary.NativeEndian.Uint32(m.Data[4:]))), true
}
