package isolation_test

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/isolation"
)

// Each closed range is tried at its first and its last address and just outside.
func TestDefaultPolicy(t *testing.T) {
	plan, err := isolation.Compile(isolation.Policy{}, nil, nil)
	require.NoError(t, err)
	filter := isolation.NewFilter(isolation.Config{})
	filter.SetPlan(plan)
	peer, err := filter.SetSubject(isolation.Subject{ID: "a", Addrs: addrs(alice4, alice6)})
	require.NoError(t, err)
	ref := reference{ranges: ranges()}
	tried := map[netip.Addr]bool{}
	try := func(dst netip.Addr) {
		if !dst.IsValid() || tried[dst] || dst == addr(alice4) {
			return
		}
		tried[dst] = true
		src := alice4
		if dst.Is6() {
			src = alice6
		}
		want := ref.closure(dst)
		info, raw := udp(src, dst.String(), 5000, 443).parse(t)
		got := filter.Check(peer, nil, &info, raw)
		require.Equal(t, isolation.Verdict{Allow: want == isolation.ReasonInternet, Reason: want}.String(), got.String(), "%s", dst)
		if want == isolation.ReasonEmbedded {
			return
		}
		info, raw = tcp(src, dst.String(), 5000, 25, syn).parse(t)
		require.False(t, filter.Check(peer, nil, &info, raw).Allow, "port 25 of %s", dst)
	}
	for _, r := range ranges() {
		for _, at := range []netip.Addr{r.first, r.last} {
			for _, a := range []netip.Addr{at.Prev(), at, at.Next()} {
				try(a)
				if a.Is4() {
					try(inNAT64(a))
				}
			}
		}
	}
	require.Greater(t, len(tried), 150)
	for _, open := range []string{
		"192.0.2.1", "198.51.100.1", "203.0.113.1", "2001:db8::1", "3fff::1", "3fff:fff:ffff::1", // documentation
		"1.1.1.1", "8.8.8.8", "192.31.196.1", "192.52.193.1", "192.175.48.1", "223.255.255.255",
		"2606:4700:4700::1111", "2620:4f:8000::1", "2001:200::1", "64:ff9b::8.8.8.8", "64:ff9b::203.0.113.1",
	} {
		require.Equal(t, isolation.ReasonInternet, ref.closure(addr(open)), open)
		try(addr(open))
	}
}

func inNAT64(a netip.Addr) netip.Addr {
	b := addr("64:ff9b::").As16()
	v4 := a.As4()
	copy(b[12:], v4[:])
	return netip.AddrFrom16(b)
}

// No policy opens an address in disguise.
func TestDisguisesStayClosed(t *testing.T) {
	everything := isolation.Rule{To: to("0.0.0.0/0", "::/0", "2002::/16", "::ffff:0:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48")}
	l := newLab(t, isolation.Config{}, allow(isolation.Rule{}, everything))
	for _, inner := range []string{"127.0.0.1", "10.0.0.3", "10.9.9.9", "192.168.1.1", "169.254.169.254", "203.0.113.9", "100.64.0.1"} {
		v4 := addr(inner).As4()
		hide := func(s string, at int) netip.Addr {
			b := addr(s).As16()
			copy(b[at:], v4[:])
			return netip.AddrFrom16(b)
		}
		l.passes(udp(alice4, inner, 1, 2), isolation.ReasonAllowed) // as itself it is open to this policy
		for name, dst := range map[string]netip.Addr{
			"mapped": hide("::ffff:0:0", 12), "compatible": hide("::", 12), "translated": hide("::ffff:0:0:0", 12),
			"NAT64": hide("64:ff9b::", 12), "local NAT64 /96": hide("64:ff9b:1:2:3:4::", 12), "local NAT64 /48": hide("64:ff9b:1::", 6),
			"6to4": hide("2002::1", 2), "Teredo server": hide("2001::1", 4), "Teredo client": hide("2001::", 12),
			"ISATAP": hide("2001:db8::5efe:0:0", 12), "ISATAP global": hide("2001:db8::200:5efe:0:0", 12),
			"ISATAP private": hide("fd12::5efe:0:0", 12), "ISATAP link-local": hide("fe80::5efe:0:0", 12),
		} {
			require.Equal(t, isolation.ReasonEmbedded, l.check(udp(alice6, dst.String(), 1, 2)).Reason, "%s of %s: %s", name, inner, dst)
		}
	}
	l.refused(udp(alice4, "0.0.0.0", 1, 2), isolation.ReasonEmbedded)
	l.refused(udp(alice6, "::", 1, 2), isolation.ReasonEmbedded)
	l.passes(udp(alice6, "::1", 1, 2), isolation.ReasonAllowed)
	l.passes(udp(alice6, "64:ff9b::8.8.8.8", 1, 2), isolation.ReasonAllowed)

	// A rule about an IPv4 range holds for its addresses behind NAT64.
	l.policy(isolation.Policy{Deny: []isolation.Rule{{To: to("198.51.100.0/24")}}})
	l.refused(udp(alice6, "64:ff9b::198.51.100.1", 1, 2), isolation.ReasonDenied)
	l.passes(udp(alice6, "64:ff9b::198.51.101.1", 1, 2), isolation.ReasonInternet)
}

func TestIsISATAP(t *testing.T) {
	for s, want := range map[string]bool{
		"fe80::5efe:10.0.0.1": true, "fe80::200:5efe:10.0.0.1": true, "2001:db8:1:2:0:5efe:a:1": true,
		"2001:db8::5eff:0:1": false, "2001:db8::100:5efe:0:1": false, "2001:db8::5efe": false, "10.0.0.1": false,
		"::ffff:10.0.0.1": false,
	} {
		require.Equal(t, want, isolation.IsISATAP(addr(s)), s)
	}
	require.False(t, isolation.IsISATAP(netip.Addr{}))
}

func TestHostAndPool(t *testing.T) {
	compile := func(host []netip.Addr, pool []netip.Prefix) map[string]isolation.Reason {
		plan, err := isolation.Compile(isolation.Policy{}, host, pool)
		require.NoError(t, err)
		filter := isolation.NewFilter(isolation.Config{})
		filter.SetPlan(plan)
		peer, err := filter.SetSubject(isolation.Subject{ID: "a", Addrs: addrs("10.0.0.2", "2001:db8:1::2")})
		require.NoError(t, err)
		out := map[string]isolation.Reason{}
		for _, dst := range []string{"10.0.0.1", "10.0.0.3", "10.1.0.3", "203.0.113.9", "2001:db8:1::1", "2001:db8:1::3", "2001:db8:2::1", "2001:3::1"} {
			src := "10.0.0.2"
			if addr(dst).Is6() {
				src = "2001:db8:1::2"
			}
			info, raw := udp(src, dst, 1, 2).parse(t)
			out[dst] = filter.Check(peer, nil, &info, raw).Reason
		}
		return out
	}
	require.Equal(t, map[string]isolation.Reason{
		"10.0.0.1": isolation.ReasonPrivate, "10.0.0.3": isolation.ReasonPrivate, "10.1.0.3": isolation.ReasonPrivate,
		"203.0.113.9": isolation.ReasonInternet, "2001:db8:1::1": isolation.ReasonInternet, "2001:db8:1::3": isolation.ReasonInternet,
		"2001:db8:2::1": isolation.ReasonInternet, "2001:3::1": isolation.ReasonInternet,
	}, compile(nil, nil))
	want := map[string]isolation.Reason{
		"10.0.0.1": isolation.ReasonHost, "10.0.0.3": isolation.ReasonPool, "10.1.0.3": isolation.ReasonPrivate,
		"203.0.113.9": isolation.ReasonHost, "2001:db8:1::1": isolation.ReasonHost, "2001:db8:1::3": isolation.ReasonPool,
		"2001:db8:2::1": isolation.ReasonInternet, "2001:3::1": isolation.ReasonInternet,
	}
	// As interfaces list them: mapped, with a zone, and with the bits of the host set.
	host := []netip.Addr{addr("10.0.0.1"), addr("::ffff:203.0.113.9"), addr("2001:db8:1::1%eth0")}
	require.Equal(t, want, compile(host, prefixes("10.0.0.1/16", "2001:db8:1::1/64")))
	// Nothing inside a pool is open.
	want["2001:3::1"], want["2001:db8:2::1"] = isolation.ReasonReserved, isolation.ReasonPool
	require.Equal(t, want, compile(host, prefixes("10.0.0.1/16", "2001::/16")))

	// The whole of a family can be a pool.
	plan, err := isolation.Compile(isolation.Policy{}, nil, prefixes("0.0.0.0/0"))
	require.NoError(t, err)
	require.Equal(t, prefix("0.0.0.0/0"), plan.Closed()[0])

	// A host that has an address in disguise is no reason to open it.
	plan, err = isolation.Compile(allow(isolation.Rule{}), addrs("2002:a00:1::1", "10.0.0.1"), nil)
	require.NoError(t, err)
	l := newLab(t, isolation.Config{}, isolation.Policy{})
	l.filter.SetPlan(plan)
	l.refused(udp(alice6, "2002:a00:1::1", 1, 2), isolation.ReasonEmbedded)
	l.passes(udp(alice4, "10.0.0.1", 1, 2), isolation.ReasonAllowed)
}
