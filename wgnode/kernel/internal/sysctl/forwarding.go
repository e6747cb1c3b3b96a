package sysctl

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
)

const (
	forward4 = "net.ipv4.ip_forward"
	forward6 = "net.ipv6.conf.all.forwarding"
)

// Forwarding returns what makes the host a router of IPv4 and of IPv6, for [Tree.Set], in the order in which it must be set.
//
// A host that forwards IPv6 ignores router advertisements, and drops the default route that it has from one, unless accept_ra
// is 2 (Documentation/networking/ip-sysctl.rst; net/ipv6/route.c, rt6_purge_dflt_routers). Many a VPS has its IPv6 from
// nowhere else. So accept_ra becomes 2 first, on each interface that listens to advertisements now: not on those named in
// except, which are the tunnel's own.
//
// A kernel without IPv6 gives an error that matches fs.ErrNotExist if ipv6 is asked for.
func (t Tree) Forwarding(ipv4, ipv6 bool, except ...string) ([]Setting, error) {
	var settings []Setting
	if ipv6 {
		before, err := t.Get(forward6)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%w: this kernel has no IPv6 or it is off (ipv6.disable=1): leave IPv6 out of the configuration", err)
		}
		if err != nil {
			return nil, err
		}
		if before != "1" {
			if settings, err = t.listeners(except); err != nil {
				return nil, err
			}
		}
		settings = append(settings, Setting{forward6, "1"})
	}
	if ipv4 {
		settings = append(settings, Setting{forward4, "1"})
	}
	return settings, nil
}

// NotForwarding returns the names of the parameters that keep the host from forwarding IPv4 and IPv6.
func (t Tree) NotForwarding(ipv4, ipv6 bool) (off []string, err error) {
	for _, family := range []struct {
		wanted bool
		name   string
	}{{ipv4, forward4}, {ipv6, forward6}} {
		if !family.wanted {
			continue
		}
		value, err := t.Get(family.name)
		if err != nil {
			return nil, err
		}
		if value != "1" {
			off = append(off, family.name)
		}
	}
	return off, nil
}

// listeners makes those interfaces go on listening to router advertisements that listen now.
func (t Tree) listeners(except []string) ([]Setting, error) {
	names, err := t.interfaces("ipv6")
	if err != nil {
		return nil, err
	}
	var settings []Setting
	for _, name := range names {
		if name == "all" || name == "default" || slices.Contains(except, name) {
			continue
		}
		accept, err := t.Get(parameter("ipv6", name, "accept_ra"))
		forwarding := "1"
		if err == nil {
			forwarding, err = t.Get(parameter("ipv6", name, "forwarding"))
		}
		switch {
		case errors.Is(err, fs.ErrNotExist): // the interface has gone
		case err != nil:
			return nil, err
		case accept == "1" && forwarding == "0":
			settings = append(settings, Setting{parameter("ipv6", name, "accept_ra"), "2"})
		}
	}
	return settings, nil
}

// changedAlong returns what the kernel changes when it is told to forward or not to: those parameters of which interfaces, or
// of all, get which value, where on is "1". Thus a host that forwarded between some of its interfaces would be left doing so
// between none (net/ipv4/devinet.c, inet_forward_change; net/ipv6/addrconf.c, addrconf_forward_change).
func changedAlong(name string) []change {
	switch name {
	case forward4:
		return []change{{"ipv4", everywhere, "forwarding", false}, {"ipv4", "all", "accept_redirects", true}}
	case forward6:
		return []change{{"ipv6", everywhere, "forwarding", false}}
	}
	return nil
}

type change struct {
	family, iface, name string
	inverse             bool // it gets 0 for 1, and 1 for 0
}

// everywhere is each interface, and "default".
const everywhere = "*"

// along returns the parameters that will have to be mended after main is put back: those that are not what they will be then.
func (t Tree) along(main Saved) ([]Saved, error) {
	var found []Saved
	for _, c := range changedAlong(main.Name) {
		interfaces := []string{c.iface}
		if c.iface == everywhere {
			var err error
			if interfaces, err = t.interfaces(c.family); err != nil {
				return nil, err
			}
			interfaces = slices.DeleteFunc(interfaces, func(i string) bool { return i == "all" }) // is main itself
		}
		for _, i := range interfaces {
			name := parameter(c.family, i, c.name)
			now, err := t.Get(name)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return nil, err
			}
			if (now == main.Before) == c.inverse {
				found = append(found, Saved{Setting{name, now}, now})
			}
		}
	}
	return found, nil
}

// interfaces lists those of a family, with "all" and "default".
func (t Tree) interfaces(family string) ([]string, error) {
	entries, err := os.ReadDir(t.path("net." + family + ".conf"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("sysctl: list interfaces: %w", bare(err))
	}
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, nil
}

// parameter names a parameter of an interface.
func parameter(family, iface, name string) string {
	return "net." + family + ".conf." + strings.ReplaceAll(iface, ".", "/") + "." + name
}
