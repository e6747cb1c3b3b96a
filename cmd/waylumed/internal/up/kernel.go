package up

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/waylume/waylume/cmd/waylumed/internal/host"
	"github.com/waylume/waylume/cmd/waylumed/internal/words"
	"github.com/waylume/waylume/wgnode/kernel"
)

// The values of Settings.NAT.
const (
	masquerade = "masquerade"
	noNAT      = "none"
)

// NATs are the values of Settings.NAT.
func NATs() []string { return []string{masquerade, noNAT} }

// aboutKernel names the flags that were set and are about the kernel dataplane only.
func (s Settings) aboutKernel() (flags []string) {
	for _, f := range []struct {
		name string
		set  bool
	}{
		{"interface", s.Interface != kernel.DefaultInterface},
		{"uplink", s.Uplink != ""},
		{"nat", s.NAT != masquerade},
		{"source-addrs", len(s.SourceAddrs) > 0},
		{"fwmark", s.FirewallMark != 0},
		{"leave-firewalls", s.LeaveFirewalls},
		{"control-ports", len(s.ControlPorts) > 0},
		{"control-allow", len(s.ControlAllow) > 0},
	} {
		if f.set {
			flags = append(flags, f.name)
		}
	}
	return flags
}

// kernel reads what is about the kernel dataplane.
func (s Settings) kernel(r *reader) kernel.Config {
	switch s.Dataplane {
	case host.Auto, host.Kernel:
	case host.Userspace:
		for _, flag := range s.aboutKernel() {
			r.add(flag, "is about the kernel dataplane: leave it out, or say --dataplane %s", host.Kernel)
		}
	default:
		r.add("dataplane", "%q is not a dataplane: give %s", s.Dataplane, strings.Join(host.Dataplanes(), ", "))
	}
	cfg := kernel.Config{
		Interface: cmp.Or(s.Interface, kernel.DefaultInterface), Uplink: s.Uplink, FirewallMark: s.FirewallMark,
		LeaveFirewalls: s.LeaveFirewalls,
	}
	s.translation(r, &cfg)
	s.control(r, &cfg)
	r.kernel(cfg)
	return cfg
}

// translation reads what source address peers' packets leave with.
func (s Settings) translation(r *reader, cfg *kernel.Config) {
	for _, text := range s.SourceAddrs {
		addr, err := netip.ParseAddr(text)
		if err != nil {
			r.add("source-addrs", "%q is not an address: give one of IPv4, one of IPv6, or both", text)
			continue
		}
		cfg.SourceAddrs = append(cfg.SourceAddrs, addr)
	}
	switch s.NAT {
	case masquerade:
	case noNAT:
		cfg.NAT = kernel.NATNone
		if len(s.SourceAddrs) > 0 {
			r.add("source-addrs", "--nat %s leaves packets their own source address: give one of the two flags", noNAT)
			cfg.SourceAddrs = nil
		}
	default:
		r.add("nat", "%q is not a way to translate addresses: give %s", s.NAT, strings.Join(NATs(), " or "))
	}
}

// control reads which ports of the host are closed, and to whom not.
func (s Settings) control(r *reader, cfg *kernel.Config) {
	for _, text := range s.ControlPorts {
		port, err := words.Port(text)
		if err != nil {
			r.add("control-ports", "%v", err)
			continue
		}
		cfg.ControlPorts = append(cfg.ControlPorts, port)
	}
	if len(s.ControlPorts) == 0 && len(s.ControlAllow) > 0 {
		r.add("control-ports", "is not given, and --control-allow says who reaches them: name them")
		return
	}
	for _, text := range s.ControlAllow {
		prefix, err := words.Prefix(text)
		if err != nil {
			r.add("control-allow", "%v", err)
			continue
		}
		cfg.ControlAllow = append(cfg.ControlAllow, prefix)
	}
}

// kernel has a dataplane check its part, which touches nothing.
func (r *reader) kernel(cfg kernel.Config) {
	flags := map[string]string{
		"Interface": "interface", "Uplink": "uplink", "SourceAddrs": "source-addrs", "ControlAllow": "control-allow",
	}
	for _, problem := range words.Kernel(cfg) {
		if flag, ok := flags[problem.Field]; ok {
			r.add(flag, "%s", problem.Text)
		} else {
			r.problems = append(r.problems, problem.Text)
		}
	}
}

// showKernel says what settings make of the host where they differ from what they are by default, and what is odd about them.
func (r *runner) showKernel(line func(what, is string), seen sight) {
	cfg := r.plan.kernel
	if cfg.Uplink != "" {
		line("Uplink", cfg.Uplink)
		if !slices.Contains(seen.interfaces, cfg.Uplink) {
			line("", wrap(fmt.Sprintf("This host has no interface %s now: nothing leaves until it has. It has %s.",
				cfg.Uplink, strings.Join(seen.interfaces, ", ")), 90))
		}
	}
	if cfg.NAT == kernel.NATNone {
		line("NAT", wrap("none: the network behind must route peers' addresses to this host, or no answer comes back", 90))
	}
	if len(cfg.SourceAddrs) > 0 {
		line("Peers leave", "as "+list(cfg.SourceAddrs))
	}
	for _, addr := range cfg.SourceAddrs {
		if !slices.Contains(seen.addrs, addr) {
			line("", wrap(fmt.Sprintf("%s is no address of this host now: answers come only if the network routes it here.", addr), 90))
		}
	}
	if len(cfg.ControlPorts) > 0 {
		who := "for this host alone"
		if len(cfg.ControlAllow) > 0 {
			who = "only for " + list(cfg.ControlAllow) + " and this host"
		}
		line("Control", wrap(fmt.Sprintf("TCP port %s: %s", list(cfg.ControlPorts), who), 90))
	}
}

// list joins values as a person reads them.
func list[T any](values []T) string {
	texts := make([]string, len(values))
	for i, v := range values {
		texts[i] = fmt.Sprint(v)
	}
	return strings.Join(texts, ", ")
}
