package kernel

import (
	"errors"
	"fmt"

	"github.com/florianl/go-tc"
	"golang.org/x/sys/unix"

	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/kernel/internal/link"
	"github.com/waylume/waylume/wgnode/kernel/internal/sysctl"
	"github.com/waylume/waylume/wgnode/kernel/internal/wgdev"
)

// denied makes absence of what is closed to a process that has CAP_NET_ADMIN. Without that privilege, which is another
// feature, a refusal says nothing.
func denied(links *link.Conn, err error) error {
	if (isDenied(err) || errors.Is(err, unix.EROFS)) && links.Privileged() == nil {
		return fmt.Errorf("%w: %w", wgnode.ErrNotSupported, err)
	}
	return err
}

func askPrivilege(h host) error {
	err := h.links.Privileged()
	if isDenied(err) {
		return fmt.Errorf("%w: %w", wgnode.ErrNotSupported, err)
	}
	return err
}

func askModule(h host) error { return wgdev.SupportedModule(h.links) }

func askTUN(h host) error { return denied(h.links, wgdev.SupportedTUN(h.links)) }

func tryModule(s space) error {
	if err := wgdev.SupportedModule(s.links); err != nil {
		return err
	}
	return tryLink(s, link.KindWireGuard)
}

// tryLink makes an interface of a kind.
func tryLink(s space, kind string) error {
	_, _, err := s.links.EnsureLink("probe-"+kind[:3], kind)
	return err
}

// tryTUN makes a TUN as the driver does, which is gone with its file.
func tryTUN(s space) error {
	if err := wgdev.SupportedTUN(s.links); err != nil {
		return denied(s.links, err)
	}
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	req, err := unix.NewIfreq("probe-tun")
	if err != nil {
		return err
	}
	req.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI | unix.IFF_VNET_HDR | unix.IFF_TUN_EXCL)
	return unix.IoctlIfreq(fd, unix.TUNSETIFF, req)
}

// Handles of the queues that are tried, on the loopback of a namespace that has nothing else.
const (
	loopback  = 1
	htbRoot   = 1 << 16
	htbClass  = htbRoot | 1
	leafQueue = 2 << 16
	fairQueue = 3 << 16
	atRoot    = 0xffffffff // TC_H_ROOT
)

// tryHTB makes an HTB with one class and a bfifo below it.
func tryHTB(space) error {
	return withQueues(func(conn *tc.Tc) error {
		root := tc.Object{Msg: tc.Msg{Ifindex: loopback, Handle: htbRoot, Parent: atRoot}}
		root.Kind, root.Htb = "htb", &tc.Htb{Init: &tc.HtbGlob{Version: 3, Rate2Quantum: 10}}
		if err := conn.Qdisc().Replace(&root); err != nil {
			return fmt.Errorf("make an HTB: %w", err)
		}
		const megabit = 125_000 // byte/s
		class := tc.Object{Msg: tc.Msg{Ifindex: loopback, Handle: htbClass, Parent: htbRoot}}
		rate := tc.RateSpec{Linklayer: 1, Rate: megabit} // as Ethernet: no table of rates
		class.Kind = "htb"
		class.Htb = &tc.Htb{Parms: &tc.HtbOpt{Rate: rate, Ceil: rate, Buffer: megabit, Cbuffer: megabit, Quantum: 1500}}
		if err := conn.Class().Replace(&class); err != nil {
			return fmt.Errorf("make a class: %w", err)
		}
		leaf := tc.Object{Msg: tc.Msg{Ifindex: loopback, Handle: leafQueue, Parent: htbClass}}
		leaf.Kind, leaf.Bfifo = "bfifo", &tc.FifoOpt{Limit: 64 << 10}
		if err := conn.Qdisc().Replace(&leaf); err != nil {
			return fmt.Errorf("make a bfifo: %w", err)
		}
		return nil
	})
}

// tryFqCodel makes one in the place of whatever the loopback has.
func tryFqCodel(space) error {
	return withQueues(func(conn *tc.Tc) error {
		queue := tc.Object{Msg: tc.Msg{Ifindex: loopback, Handle: fairQueue, Parent: atRoot}}
		queue.Kind, queue.FqCodel = "fq_codel", &tc.FqCodel{Flows: new(uint32(32))}
		return conn.Qdisc().Replace(&queue)
	})
}

func withQueues(f func(*tc.Tc) error) error {
	conn, err := tc.Open(&tc.Config{})
	if err != nil {
		return fmt.Errorf("connect to traffic control: %w", err)
	}
	return errors.Join(f(conn), conn.Close())
}

// askForwarding reports whether what lets the host forward is so, or can be written, without writing it.
func askForwarding(h host, ipv4 bool) error {
	tree := sysctl.New("")
	settings, err := tree.Forwarding(ipv4, !ipv4, DefaultInterface, DefaultInterface+ifbSuffix)
	if err != nil {
		return err
	}
	if ipv4 && wgdev.SupportedModule(h.links) == nil {
		settings = append(settings, sysctl.Setting{Name: "net.ipv4.conf.all.send_redirects", Value: "0"}) // see bringSysctls
	}
	for _, s := range settings {
		if now, err := tree.Get(s.Name); err != nil {
			return err
		} else if now == s.Value {
			continue
		}
		if err := tree.Writable(s.Name); err != nil {
			return denied(h.links, err)
		}
	}
	return nil
}
