package isolation_test

import (
	"net/netip"
	"slices"

	"github.com/waylume/waylume/isolation"
)

// addrRange is a range of addresses with one default; ranges of a family are ordered so that the first match decides.
type addrRange struct {
	first, last netip.Addr
	reason      isolation.Reason
}

// ranges are the default closures once more, as first and last address, written down from the registries and not from the
// package.
func ranges() (out []addrRange) {
	for _, r := range []struct {
		first, last string
		reason      isolation.Reason
	}{
		{"169.254.169.254", "169.254.169.254", isolation.ReasonMetadata},
		{"169.254.170.2", "169.254.170.2", isolation.ReasonMetadata},
		{"169.254.170.23", "169.254.170.23", isolation.ReasonMetadata},
		{"100.100.100.200", "100.100.100.200", isolation.ReasonMetadata},
		{"192.0.0.192", "192.0.0.192", isolation.ReasonMetadata},
		{"168.63.129.16", "168.63.129.16", isolation.ReasonMetadata},
		{"0.0.0.0", "0.255.255.255", isolation.ReasonEmbedded},
		{"10.0.0.0", "10.255.255.255", isolation.ReasonPrivate},
		{"100.64.0.0", "100.127.255.255", isolation.ReasonShared},
		{"127.0.0.0", "127.255.255.255", isolation.ReasonHost},
		{"169.254.0.0", "169.254.255.255", isolation.ReasonLinkLocal},
		{"172.16.0.0", "172.31.255.255", isolation.ReasonPrivate},
		{"192.0.0.0", "192.0.0.255", isolation.ReasonReserved},
		{"192.88.99.0", "192.88.99.255", isolation.ReasonReserved},
		{"192.168.0.0", "192.168.255.255", isolation.ReasonPrivate},
		{"198.18.0.0", "198.19.255.255", isolation.ReasonReserved},
		{"224.0.0.0", "239.255.255.255", isolation.ReasonMulticast},
		{"255.255.255.255", "255.255.255.255", isolation.ReasonMulticast},
		{"240.0.0.0", "255.255.255.254", isolation.ReasonReserved},

		{"::", "::", isolation.ReasonEmbedded},
		{"::1", "::1", isolation.ReasonHost},
		{"::2", "::ffff:ffff", isolation.ReasonEmbedded},
		{"::ffff:0.0.0.0", "::ffff:255.255.255.255", isolation.ReasonEmbedded},
		{"::ffff:0:0:0", "::ffff:0:ffff:ffff", isolation.ReasonEmbedded},
		{"64:ff9b:1::", "64:ff9b:1:ffff:ffff:ffff:ffff:ffff", isolation.ReasonEmbedded},
		{"64:ff9b::", "64:ff9b::ffff:ffff", isolation.ReasonInternet}, // but for what is inside
		{"::", "1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", isolation.ReasonReserved},
		{"2001::", "2001:0:ffff:ffff:ffff:ffff:ffff:ffff", isolation.ReasonEmbedded},
		{"2001:3::", "2001:3:ffff:ffff:ffff:ffff:ffff:ffff", isolation.ReasonInternet},
		{"2001:4:112::", "2001:4:112:ffff:ffff:ffff:ffff:ffff", isolation.ReasonInternet},
		{"2001::", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff", isolation.ReasonReserved},
		{"2002::", "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff", isolation.ReasonEmbedded},
		{"fd00:ec2::254", "fd00:ec2::254", isolation.ReasonMetadata},
		{"fd00:ec2::23", "fd00:ec2::23", isolation.ReasonMetadata},
		{"fd20:ce::254", "fd20:ce::254", isolation.ReasonMetadata},
		{"fd00:42::42", "fd00:42::42", isolation.ReasonMetadata},
		{"fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", isolation.ReasonPrivate},
		{"fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff", isolation.ReasonLinkLocal},
		{"fec0::", "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", isolation.ReasonPrivate},
		{"ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", isolation.ReasonMulticast},
		{"4000::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", isolation.ReasonReserved},
	} {
		out = append(out, addrRange{addr(r.first), addr(r.last), r.reason})
	}
	return out
}

// reference judges flows straight from the documentation, one rule, range and port after another.
type reference struct {
	policy isolation.Policy
	host   []netip.Addr
	pool   []netip.Prefix
	ranges []addrRange
}

// closure returns ReasonInternet for an open address.
func (r *reference) closure(a netip.Addr) isolation.Reason {
	if inside, ok := embeddedNAT64(a); ok && r.closure(inside) != isolation.ReasonInternet {
		return isolation.ReasonEmbedded
	}
	by := isolation.ReasonInternet
	for _, x := range r.ranges {
		if x.first.Is4() == a.Is4() && x.first.Compare(a) <= 0 && a.Compare(x.last) <= 0 {
			by = x.reason
			break
		}
	}
	metadata := by == isolation.ReasonMetadata
	switch {
	case by == isolation.ReasonEmbedded:
	case slices.Contains(r.host, a):
		by = isolation.ReasonHost
	case !metadata && slices.ContainsFunc(r.pool, func(p netip.Prefix) bool { return p.Contains(a) }):
		by = isolation.ReasonPool
	}
	return by
}

func embeddedNAT64(a netip.Addr) (netip.Addr, bool) {
	b := a.As16()
	if !a.Is6() || [12]byte(b[:12]) != [12]byte{0, 0x64, 0xff, 0x9b} {
		return netip.Addr{}, false
	}
	return netip.AddrFrom4([4]byte(b[12:])), true
}

// flow is what a rule asks about.
type flow struct {
	from     isolation.Subject
	to       *isolation.Subject // nil: no peer
	dst      netip.Addr
	protocol isolation.Protocol
	port     uint16
}

func (r *reference) judge(f flow) isolation.Verdict {
	drop := func(reason isolation.Reason) isolation.Verdict { return isolation.Verdict{Reason: reason} }
	closure := r.closure(f.dst)
	if f.to == nil && (closure == isolation.ReasonEmbedded || isolation.IsISATAP(f.dst)) {
		return drop(isolation.ReasonEmbedded)
	}
	matches := func(rule isolation.Rule) bool { return r.matches(rule, f, closure) }
	switch {
	case slices.ContainsFunc(r.policy.Deny, matches):
		return drop(isolation.ReasonDenied)
	case slices.ContainsFunc(r.policy.Allow, matches):
		return isolation.Verdict{Allow: true, Reason: isolation.ReasonAllowed}
	case f.to != nil:
		return drop(isolation.ReasonPeer)
	case closure != isolation.ReasonInternet:
		return drop(closure)
	case f.protocol == isolation.TCP && f.port == 25:
		return drop(isolation.ReasonSMTP)
	}
	return isolation.Verdict{Allow: true, Reason: isolation.ReasonInternet}
}

func (r *reference) matches(rule isolation.Rule, f flow, closure isolation.Reason) bool {
	if rule.Protocol != isolation.Any && rule.Protocol != f.protocol {
		return false
	}
	if rule.Ports != nil {
		inside := func(p isolation.PortRange) bool { return p.First <= f.port && f.port <= p.Last }
		if f.protocol != isolation.TCP && f.protocol != isolation.UDP || !slices.ContainsFunc(rule.Ports, inside) {
			return false
		}
	}
	if !rule.From.IsZero() && !identified(rule.From, f.from) &&
		!slices.ContainsFunc(f.from.Addrs, func(a netip.Addr) bool { return within(rule.From.Prefixes, a) }) {
		return false
	}
	dst := []netip.Addr{f.dst}
	if inside, ok := embeddedNAT64(f.dst); ok {
		dst = append(dst, inside)
	}
	return rule.To.IsZero() ||
		f.to != nil && identified(rule.To, *f.to) ||
		f.to == nil && closure == isolation.ReasonInternet && rule.To.Internet ||
		slices.ContainsFunc(dst, func(a netip.Addr) bool { return within(rule.To.Prefixes, a) })
}

func within(list []netip.Prefix, a netip.Addr) bool {
	return slices.ContainsFunc(list, func(p netip.Prefix) bool { return p.Contains(a) })
}

func identified(m isolation.Match, s isolation.Subject) bool {
	if slices.Contains(m.Peers, s.ID) || s.Account != "" && slices.Contains(m.Accounts, s.Account) {
		return true
	}
	for key, want := range m.Labels {
		if got, ok := s.Labels[key]; !ok || got != want {
			return false
		}
	}
	return m.Labels != nil
}

// judgeAnyPort judges a flow of which the port is not known: it passes if it does so with whichever port. That rules may
// open port 25 of TCP is left out of account.
func (r *reference) judgeAnyPort(f flow) isolation.Verdict {
	if f.protocol != isolation.TCP && f.protocol != isolation.UDP {
		return r.judge(f)
	}
	tried := []uint16{0, 65535}
	for _, rule := range slices.Concat(r.policy.Allow, r.policy.Deny) {
		for _, p := range rule.Ports {
			tried = append(tried, p.First-1, p.First, p.Last, p.Last+1)
		}
	}
	var verdicts []isolation.Verdict
	for _, port := range tried {
		verdicts = append(verdicts, r.judge(flow{f.from, f.to, f.dst, f.protocol, port}))
	}
	withoutPorts := *r
	withoutPorts.policy.Allow = slices.DeleteFunc(slices.Clone(r.policy.Allow), func(r isolation.Rule) bool { return r.Ports != nil })
	if v := withoutPorts.judge(flow{f.from, f.to, f.dst, f.protocol, 25}); v.Reason == isolation.ReasonSMTP {
		verdicts = append(verdicts, v)
	}
	out := verdicts[0]
	for _, v := range verdicts {
		switch {
		case v.Allow != out.Allow:
			return isolation.Verdict{Reason: isolation.ReasonFragment}
		case v.Reason != out.Reason && v.Allow:
			out.Reason = isolation.ReasonInternet
		case v.Reason != out.Reason:
			out.Reason = isolation.ReasonFragment
		}
	}
	return out
}
