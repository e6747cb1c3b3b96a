package up

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/cmd/waylumed/internal/console"
	"github.com/waylume/waylume/cmd/waylumed/internal/host"
	"github.com/waylume/waylume/wgnode/kernel"
)

func TestKernelFlags(t *testing.T) {
	s := settings("x")
	s.Dataplane, s.Interface, s.Uplink, s.FirewallMark, s.LeaveFirewalls = host.Kernel, "exit1", "eth0", 0xca6c, true
	s.SourceAddrs = []string{"203.0.113.9", "2001:db8::9"}
	s.ControlPorts, s.ControlAllow = []string{"22", "8443"}, []string{"198.51.100.7", "192.0.2.0/24", "2001:db8:7::7", "2001:db8::/48"}
	p, err := s.plan()
	require.NoError(t, err)
	want := kernel.Config{
		Interface: "exit1", Uplink: "eth0", FirewallMark: 0xca6c, LeaveFirewalls: true,
		SourceAddrs:  []netip.Addr{netip.MustParseAddr("203.0.113.9"), netip.MustParseAddr("2001:db8::9")},
		ControlPorts: []uint16{22, 8443}, ControlAllow: []netip.Prefix{
			netip.MustParsePrefix("198.51.100.7/32"), netip.MustParsePrefix("192.0.2.0/24"),
			netip.MustParsePrefix("2001:db8:7::7/128"), netip.MustParsePrefix("2001:db8::/48"),
		},
	}
	require.Equal(t, want, p.kernel)

	s.SourceAddrs, s.NAT = nil, noNAT
	p, err = s.plan()
	require.NoError(t, err)
	want.SourceAddrs, want.NAT = nil, kernel.NATNone
	require.Equal(t, want, p.kernel)
}

// TestKernelFlagsWithoutIt has each flag about the kernel dataplane refused with the other.
func TestKernelFlagsWithoutIt(t *testing.T) {
	for flag, set := range map[string]func(*Settings){
		"interface":       func(s *Settings) { s.Interface = "exit1" },
		"uplink":          func(s *Settings) { s.Uplink = "eth0" },
		"nat":             func(s *Settings) { s.NAT = noNAT },
		"source-addrs":    func(s *Settings) { s.SourceAddrs = []string{"203.0.113.9"} },
		"fwmark":          func(s *Settings) { s.FirewallMark = 1 },
		"leave-firewalls": func(s *Settings) { s.LeaveFirewalls = true },
		"control-ports":   func(s *Settings) { s.ControlPorts = []string{"22"} },
	} {
		s := settings("x")
		set(&s)
		require.Equal(t, []string{flag}, s.aboutKernel())
		_, err := s.plan()
		require.EqualError(t, err, "--"+flag+": is about the kernel dataplane: leave it out, or say --dataplane kernel")
	}
}

func TestBadKernelFlags(t *testing.T) {
	for problem, set := range map[string]func(*Settings){
		`--nat: "full" is not a way to translate addresses: give masquerade or none`: func(s *Settings) { s.NAT = "full" },
		`--source-addrs: "eth0" is not an address: give one of IPv4, one of IPv6, or both`: func(s *Settings) {
			s.SourceAddrs = []string{"eth0"}
		},
		`--source-addrs: 192.0.2.2: use at most one address of each family`: func(s *Settings) {
			s.SourceAddrs = []string{"192.0.2.1", "192.0.2.2"}
		},
		`--source-addrs: 127.0.0.1: use a unicast address of the host`: func(s *Settings) { s.SourceAddrs = []string{"127.0.0.1"} },
		`--source-addrs: --nat none leaves packets their own source address: give one of the two flags`: func(s *Settings) {
			s.NAT, s.SourceAddrs = noNAT, []string{"192.0.2.1"}
		},
		`--control-ports: "0" is not a TCP port: give 1 to 65535`:     func(s *Settings) { s.ControlPorts = []string{"0"} },
		`--control-ports: "65536" is not a TCP port: give 1 to 65535`: func(s *Settings) { s.ControlPorts = []string{"65536"} },
		`--control-ports: "ssh" is not a TCP port: give 1 to 65535`:   func(s *Settings) { s.ControlPorts = []string{"ssh"} },
		`--control-ports: is not given, and --control-allow says who reaches them: name them`: func(s *Settings) {
			s.ControlAllow = []string{"192.0.2.1"}
		},
		`--control-allow: "home" is neither an address nor a prefix: give such as 198.51.100.7 or 198.51.100.0/24`: func(s *Settings) {
			s.ControlPorts, s.ControlAllow = []string{"22"}, []string{"home"}
		},
		`--control-allow: 192.0.2.9/24 is either 192.0.2.9 or 192.0.2.0/24: give the one that is meant`: func(s *Settings) {
			s.ControlPorts, s.ControlAllow = []string{"22"}, []string{"192.0.2.9/24"}
		},
		`--control-allow: "::ffff:192.0.2.9" is IPv4 in IPv6: give 192.0.2.9`: func(s *Settings) {
			s.ControlPorts, s.ControlAllow = []string{"22"}, []string{"::ffff:192.0.2.9"}
		},
	} {
		s := settings("x")
		s.Dataplane = host.Kernel
		set(&s)
		_, err := s.plan()
		require.EqualError(t, err, problem)
	}
}

func TestShowKernel(t *testing.T) {
	shown := func(cfg kernel.Config) (text string) {
		r := &runner{Options: Options{Out: console.New(nil, nil)}, plan: plan{kernel: cfg}}
		r.showKernel(func(what, is string) { text += what + "|" + is + "\n" }, sight{
			interfaces: []string{"lo", "eth0"}, addrs: []netip.Addr{netip.MustParseAddr("203.0.113.9")},
		})
		return text
	}
	require.Empty(t, shown(kernel.Config{}))
	const plain = "Uplink|eth0\nPeers leave|as 203.0.113.9\nControl|TCP port 22, 8443: only for 192.0.2.0/24 and this host\n"
	require.Equal(t, plain, shown(kernel.Config{
		Uplink: "eth0", SourceAddrs: []netip.Addr{netip.MustParseAddr("203.0.113.9")},
		ControlPorts: []uint16{22, 8443}, ControlAllow: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")},
	}))
	odd := shown(kernel.Config{
		Uplink: "eth7", SourceAddrs: []netip.Addr{netip.MustParseAddr("192.0.2.9")}, ControlPorts: []uint16{22},
	})
	require.Contains(t, odd, "no interface eth7 now")
	require.Contains(t, odd, "It has lo, eth0.")
	require.Contains(t, odd, "192.0.2.9 is no address of this host now")
	require.Contains(t, odd, "Control|TCP port 22: for this host alone\n")
	require.Contains(t, shown(kernel.Config{NAT: kernel.NATNone}), "NAT|none: the network behind must route")
}
