package kernel

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// DefaultInterface is the name of the tunnel's interface unless [Config] says otherwise.
const DefaultInterface = "waylume0"

// Driver says who speaks WireGuard. Everything else is the same for all.
type Driver int

const (
	// DriverAuto takes the kernel's module where there is one, else a TUN.
	DriverAuto Driver = iota
	// DriverModule is the kernel's own WireGuard module.
	DriverModule
	// DriverTUN is wireguard-go inside this process, on a TUN of the kernel's. Its sessions end with the process.
	DriverTUN
)

// NAT says what source address peers' packets leave the host with.
type NAT int

const (
	// NATMasquerade gives packets the address of the interface that they leave by.
	NATMasquerade NAT = iota
	// NATNone routes them as they are: the network behind must know the way back to the pool.
	NATNone
)

// Config is what the host's operator decides about the dataplane. The zero value serves.
type Config struct {
	// Interface is the name of the tunnel's interface, and of everything else that is the dataplane's; at most 12 bytes.
	// Two nodes on one host need two names. Default [DefaultInterface].
	Interface string
	// Driver says who speaks WireGuard; default [DriverAuto].
	Driver Driver
	// Uplink is the name of the interface that peers' packets may leave by; empty for any.
	Uplink string
	// FirewallMark is the mark of WireGuard's own packets to the outside; 0 for none.
	FirewallMark uint32
	// NAT says what source address peers' packets leave with; default [NATMasquerade].
	NAT NAT
	// SourceAddrs, at most one of each family, are the source addresses that packets leave with instead of the
	// interface's (SNAT); a family without one is masqueraded. They are the host's, or the network routes them to it. Not with
	// NATNone. Flows that stand when another node starts keep the source address that they began with.
	SourceAddrs []netip.Addr
	// ControlPorts are TCP ports of the host, such as that of its management, which only ControlAllow reaches: everybody
	// else's packets to them are dropped, but the host's own over loopback. A peer needs a rule of the policy besides. Choose
	// none of those that the host gives to its own connections (net.ipv4.ip_local_port_range): answers would be dropped.
	// [Dataplane.SetControlAllow] replaces the list.
	ControlPorts []uint16
	ControlAllow []netip.Prefix
	// LeaveFirewalls leaves other firewalls as they are: Docker's, ufw's, firewalld's or a user's own. Otherwise, where one
	// of them in nftables drops by default, rules are put there that accept what comes from and goes to Interface, and UDP to
	// the port of WireGuard. What it drops in so many words stays dropped, and Close takes the rules away.
	LeaveFirewalls bool
	// KeepOnClose leaves everything running when the dataplane closes, for the next start to adopt. A TUN ends all the same.
	KeepOnClose bool
}

// maxInterface leaves room for the suffix of the IFB's name in the 15 bytes that Linux has for one (IFNAMSIZ).
const (
	maxInterface = 12
	ifbSuffix    = "-up"
)

func (c Config) withDefaults() (Config, error) {
	var errs []error
	problem := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if c.Interface == "" {
		c.Interface = DefaultInterface
	}
	if !goodName(c.Interface) {
		problem("Interface is %q: use 1 to %d letters, digits, '-', '_' and '.', a letter first", c.Interface, maxInterface)
	}
	if c.Driver < DriverAuto || c.Driver > DriverTUN {
		problem("Driver is %d: use one of the constants", int(c.Driver))
	}
	if c.NAT < NATMasquerade || c.NAT > NATNone {
		problem("NAT is %d: use one of the constants", int(c.NAT))
	}
	if len(c.Uplink) > 15 || strings.ContainsAny(c.Uplink, "/ ") || c.Uplink == c.Interface {
		problem("Uplink is %q: use the name of the interface to the internet, or none for any", c.Uplink)
	}
	families := make(map[bool]bool)
	for i, a := range c.SourceAddrs {
		switch {
		case !a.IsGlobalUnicast() || a.Is4In6() || a.Zone() != "":
			problem("SourceAddrs[%d] is %v: use a unicast address of the host", i, a)
		case families[a.Is4()]:
			problem("SourceAddrs[%d] is %v: use at most one address of each family", i, a)
		}
		families[a.Is4()] = true
	}
	if c.NAT == NATNone && len(c.SourceAddrs) > 0 {
		problem("SourceAddrs are set, but NAT is NATNone: drop one of them")
	}
	if slices.Contains(c.ControlPorts, 0) {
		problem("ControlPorts has 0: use 1 to 65535")
	}
	if len(c.ControlPorts) == 0 && len(c.ControlAllow) > 0 {
		problem("ControlAllow is set without ControlPorts: name the ports that it is about")
	}
	errs = append(errs, checkPrefixes("ControlAllow", c.ControlAllow)...)
	c.SourceAddrs, c.ControlPorts, c.ControlAllow = slices.Clone(c.SourceAddrs), slices.Clone(c.ControlPorts), slices.Clone(c.ControlAllow)
	slices.Sort(c.ControlPorts)
	c.ControlPorts = slices.Compact(c.ControlPorts)
	return c, errors.Join(errs...)
}

func checkPrefixes(field string, prefixes []netip.Prefix) (errs []error) {
	for i, p := range prefixes {
		if !p.IsValid() || p.Addr().Is4In6() {
			errs = append(errs, fmt.Errorf("%s[%d] is %v: use an IPv4 or IPv6 prefix", field, i, p))
		}
	}
	return errs
}

// goodName reports whether a name can be that of an interface and of tables, and be typed.
func goodName(name string) bool {
	if name == "" || len(name) > maxInterface || !letter(name[0]) {
		return false
	}
	for _, c := range []byte(name) {
		if !letter(c) && (c < '0' || c > '9') && c != '-' && c != '_' && c != '.' {
			return false
		}
	}
	return true
}

func letter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }
