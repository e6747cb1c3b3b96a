package rules

import (
	"maps"
	"net/netip"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/waylume/waylume/wgnode/kernel/internal/nft"
)

// Layout is what the tables hold without any peer.
func Layout(cfg Config) nft.Ruleset {
	l := layout{cfg: cfg, inet: nft.NewContent(), netdev: nft.NewContent()}
	for _, reason := range reasons() {
		l.inet.Objects[counterOf(reason)] = nft.Object{}
	}
	l.netdev.Objects[counterOf(reasonSpoofed)] = nft.Object{}
	maps.Copy(l.inet.Objects, cfg.Objects)
	for _, f := range families() {
		l.sets(f)
	}
	l.hooks()
	for _, f := range families() {
		l.way(f)
		l.judge(f)
		l.policy(f)
		l.meter(f, upload, f.source)
		l.meter(f, download, f.target)
	}
	l.ingress()
	l.control()
	inet, netdev := Tables(cfg.Interface)
	return nft.Ruleset{inet: l.inet, netdev: l.netdev}
}

type layout struct {
	cfg          Config
	inet, netdev *nft.Content
}

func (l *layout) chain(name string, hook *nft.Hook, rules ...nft.Rule) {
	l.inet.Chains = append(l.inet.Chains, nft.Chain{Name: name, Hook: hook, Rules: rules})
}

func rule(comment string, pieces ...[]nft.Expr) nft.Rule {
	return nft.Rule{Comment: comment, Exprs: all(pieces...)}
}

func (l *layout) set(name string, key nft.KeyType, value nft.ValueType) {
	l.inet.Sets = append(l.inet.Sets, nft.Set{Name: name, Key: key, Value: value})
}

func (l *layout) ranges(f family, name string, prefixes []netip.Prefix) {
	var mine []netip.Prefix
	for _, p := range prefixes {
		if f.has(p.Addr()) {
			mine = append(mine, p)
		}
	}
	l.inet.Sets = append(l.inet.Sets, nft.Set{Name: name, Key: f.key, Interval: true})
	l.inet.Elements[name] = nft.Ranges(mine)
}

func (l *layout) sets(f family) {
	l.set(setPeers+f.suffix, f.key, nft.NoValue)
	l.set(setBlocked+f.suffix, f.key, nft.NoValue)
	l.set(setClasses+f.suffix, f.key, nft.ClassValue)
	for _, whose := range []string{"", ofAccount} {
		for _, way := range []string{upload, download} {
			l.set(whose+mapLimit+way+f.suffix, f.key, nft.QuotaValue)
			l.set(whose+mapWatch+way+f.suffix, f.key, nft.QuotaValue)
			l.set(whose+mapCount+way+f.suffix, f.key, nft.CounterValue)
		}
	}
	l.ranges(f, setClosed+f.suffix, l.cfg.Policy.plan.Closed())
	l.ranges(f, setFinal+f.suffix, l.cfg.Policy.plan.Final())
	l.netdev.Sets = append(l.netdev.Sets, nft.Set{Name: setClasses + f.suffix, Key: f.key, Value: nft.ClassValue})
}

// Priorities of hooks as include/uapi/linux/netfilter_ipv4.h has them.
const (
	priorityRaw    = -300
	priorityFilter = 0
	prioritySource = 100
)

// hooks are the chains that the kernel calls.
func (l *layout) hooks() {
	wg := l.cfg.Interface
	filter := func(hook uint32, priority int32) *nft.Hook {
		return &nft.Hook{Kind: "filter", Number: hook, Priority: priority}
	}
	var spoofed []nft.Rule
	for _, f := range families() {
		l.ranges(f, setPool+f.suffix, merged(l.cfg.Pool))
		spoofed = append(spoofed, rule("peers' addresses do not come from outside", notIn(wg), notIn("lo"),
			f.matches(), []nft.Expr{f.load(f.source), inSet(setPeers + f.suffix)}, drop(counterOf(reasonSpoofed))))
	}
	l.chain("prerouting", filter(unix.NF_INET_PRE_ROUTING, priorityRaw), spoofed...)
	l.chain("forward", filter(unix.NF_INET_FORWARD, priorityFilter),
		rule("what TCP may send at once fits the tunnel", in(wg), clamp()),
		rule("what TCP may send at once fits the tunnel", out(wg), clamp()),
		rule("from peers", in(wg), jump("from_peer")),
		rule("to peers", out(wg), jump("to_peer")))
	l.chain("input", filter(unix.NF_INET_LOCAL_IN, priorityFilter), rule("from peers to the host", in(wg), jump("host_in")))
	l.chain("output", filter(unix.NF_INET_LOCAL_OUT, priorityFilter), rule("from the host to peers", out(wg), jump("host_out")))
	l.chain("postrouting", &nft.Hook{Kind: "nat", Number: unix.NF_INET_POST_ROUTING, Priority: prioritySource}, l.translation()...)
}

// clamp lowers the largest segment that a SYN announces to what the path carries, as "tcp option maxseg size set rt mtu".
func clamp() []nft.Expr {
	const flags, syn, rst, maxSegment = 13, 0x02, 0x04, 2
	return []nft.Expr{
		meta(expr.MetaKeyL4PROTO), is([]byte{unix.IPPROTO_TCP}),
		one(&expr.Payload{DestRegister: reg, Base: expr.PayloadBaseTransportHeader, Offset: flags, Len: 1}),
		one(&expr.Bitwise{SourceRegister: reg, DestRegister: reg, Len: 1, Mask: []byte{syn | rst}, Xor: []byte{0}}),
		is([]byte{syn}),
		one(&expr.Rt{Register: reg, Key: expr.RtTCPMSS}),
		one(&expr.Byteorder{SourceRegister: reg, DestRegister: reg, Op: expr.ByteorderHton, Len: 2, Size: 2}),
		one(&expr.Exthdr{SourceRegister: reg, Type: maxSegment, Offset: 2, Len: 2, Op: expr.ExthdrOpTcpopt}),
	}
}

// translation gives peers' packets the source address that they leave with.
func (l *layout) translation() (rules []nft.Rule) {
	for _, f := range families() {
		var to []nft.Expr
		for _, addr := range l.cfg.SourceAddrs {
			if f.has(addr) {
				to = []nft.Expr{
					one(&expr.Immediate{Register: reg, Data: addr.AsSlice()}),
					one(&expr.NAT{Type: expr.NATTypeSourceNAT, Family: uint32(f.protocol), RegAddrMin: reg}),
				}
			}
		}
		if to == nil && l.cfg.Masquerade {
			to = []nft.Expr{one(&expr.Masq{})}
		}
		if to != nil {
			rules = append(rules, rule("peers leave as the host", f.matches(), in(l.cfg.Interface), notOut(l.cfg.Interface),
				[]nft.Expr{f.load(f.source), inSet(setPool + f.suffix)}, to))
		}
	}
	return rules
}

// way are the chains through which packets of a family come and go.
func (l *layout) way(f family) {
	wg, n := l.cfg.Interface, f.suffix
	if f.suffix == "4" {
		l.entrances()
	}
	blocked := func(offset uint32) []nft.Expr {
		return append([]nft.Expr{f.load(offset), inSet(setBlocked + n)}, drop(counterOf(reasonCap))...)
	}
	from := []nft.Rule{
		rule("a cap is used up", blocked(f.source)),
		rule("a cap is used up", out(wg), blocked(f.target)),
		rule("no way in by another address", dnat(), []nft.Expr{f.load(f.target), inSet(setClosed + n)}, drop(counterOf(reasonClosed))),
		rule("", jump("judge"+n)),
		// The class of the upload is nothing to the queues of the interface that the packet leaves by.
		rule("", []nft.Expr{
			one(&expr.Immediate{Register: reg, Data: native32(0)}),
			one(&expr.Meta{Key: expr.MetaKeyPRIORITY, SourceRegister: true, Register: reg}),
		}),
		rule("", goTo("meter"+upload+n)),
	}
	l.chain("from_peer"+n, nil, from...)
	l.chain("to_peer"+n, nil,
		rule("a cap is used up", blocked(f.target)),
		rule("", notIn(wg), jump("judge"+n)),
		rule("", goTo("meter"+download+n)))
	l.chain("host_in"+n, nil,
		rule("a cap is used up", blocked(f.source)),
		rule("answers to the host", replies(), []nft.Expr{original(f.ctSource), notInSet(setPeers + n)}, goTo("meter"+upload+n)),
		rule("", []nft.Expr{original(f.ctSource), notInSet(setPeers + n)}, drop(counterOf(reasonUnsolicited))),
		rule("the host is closed", jump("closed"+n)),
		rule("", goTo("meter"+upload+n)))
	l.chain("host_out"+n, nil,
		rule("there is no better way than the node", f.redirects(), drop(counterOf(reasonRedirect))),
		rule("a cap is used up", blocked(f.target)),
		rule("answers to peers", []nft.Expr{original(f.ctSource), inSet(setPeers + n)}, jump("judge"+n)),
		rule("", goTo("meter"+download+n)))
}

// entrances drop what cannot be judged and part the families.
func (l *layout) entrances() {
	untracked := drop(counterOf(reasonUntracked))
	enter := func(name string, first ...nft.Rule) {
		for _, f := range families() {
			first = append(first, rule("", f.matches(), goTo(name+f.suffix)))
		}
		l.chain(name, nil, first...)
	}
	from := []nft.Rule{rule("flows that are not known", unknown(), untracked)}
	if l.cfg.Uplink != "" {
		from = append(from, rule("only by the uplink", notOut(l.cfg.Interface), notOut(l.cfg.Uplink), drop(counterOf(reasonUplink))))
	}
	enter("from_peer", from...)
	enter("to_peer", rule("flows that are not known", notIn(l.cfg.Interface), unknown(), untracked))
	enter("host_in", rule("flows that are not known", unknown(), untracked))
	enter("host_out", rule("flows that are not known", unknown(), untracked))
}

// dnat matches flows of which somebody else's rule has changed the destination.
func dnat() []nft.Expr {
	const changed = 1 << 5 // IPS_DST_NAT
	return append([]nft.Expr{one(&expr.Ct{Register: reg, Key: expr.CtKeySTATUS})}, mask(changed)...)
}

// replies matches packets that go against the direction of their flow.
func replies() []nft.Expr {
	return []nft.Expr{one(&expr.Ct{Register: reg, Key: expr.CtKeyDIRECTION}), is([]byte{expr.CtDirReply})}
}

// redirects matches ICMP redirects.
func (f family) redirects() []nft.Expr {
	kind := byte(5) // RFC 792
	if f.suffix == "6" {
		kind = 137 // RFC 4861
	}
	return []nft.Expr{
		meta(expr.MetaKeyL4PROTO), is([]byte{f.icmp}),
		one(&expr.Payload{DestRegister: reg, Base: expr.PayloadBaseTransportHeader, Len: 1}), is([]byte{kind}),
	}
}

// ingress shapes what comes from peers.
func (l *layout) ingress() {
	class := []nft.Expr{one(&expr.Meta{Key: expr.MetaKeyPRIORITY, SourceRegister: true, Register: reg})}
	var rules []nft.Rule
	for _, f := range families() {
		rules = append(rules, rule("peers by their address", []nft.Expr{
			meta(expr.MetaKeyPROTOCOL), is(big16(f.ether)), f.load(f.source),
			one(&expr.Lookup{SourceRegister: reg, DestRegister: reg, IsDestRegSet: true, SetName: setClasses + f.suffix}),
		}, class, goTo("shape")))
	}
	rules = append(rules, rule("nobody else", drop(counterOf(reasonSpoofed))))
	l.netdev.Chains = []nft.Chain{
		{Name: "shape", Rules: []nft.Rule{
			rule("no limit", []nft.Expr{meta(expr.MetaKeyPRIORITY), is(native32(0))}, accept()),
			rule("through the queues", []nft.Expr{
				one(&expr.Immediate{Register: reg, Data: native32(uint32(l.cfg.IFBIndex))}), nft.ForwardTo{Register: reg},
			}),
		}},
		{Name: "upload", Hook: &nft.Hook{
			Kind: "filter", Number: unix.NF_NETDEV_INGRESS, Device: l.cfg.Interface,
		}, Rules: rules},
	}
}

// control closes the host's control ports to all but some.
func (l *layout) control() {
	if len(l.cfg.ControlPorts) == 0 {
		return
	}
	ports := nft.Set{Name: controlPorts, Key: nft.KeyPort}
	l.inet.Sets = append(l.inet.Sets, ports)
	for _, p := range l.cfg.ControlPorts {
		l.inet.Add(ports.Name, nft.Key{Data: string(big16(p))}, nft.Value{})
	}
	var rules []nft.Rule
	port := []nft.Expr{
		meta(expr.MetaKeyL4PROTO), is([]byte{unix.IPPROTO_TCP}),
		one(&expr.Payload{DestRegister: reg, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2}), inSet(ports.Name),
	}
	for _, f := range families() {
		l.ranges(f, setControl+f.suffix, merged(l.cfg.ControlAllow))
		rules = append(rules, rule("the control port is closed to strangers", notIn("lo"), f.matches(), port,
			[]nft.Expr{f.load(f.source), notInSet(setControl + f.suffix)}, drop(counterOf(reasonControl))))
	}
	l.chain("control", &nft.Hook{Kind: "filter", Number: unix.NF_INET_LOCAL_IN, Priority: priorityFilter - 1}, rules...)
}

// ReplaceControl adds to b what makes the control ports open to cfg.ControlAllow and nobody else.
func ReplaceControl(b *nft.Batch, cfg Config) {
	inet, _ := Tables(cfg.Interface)
	for _, f := range families() {
		l := layout{cfg: cfg, inet: nft.NewContent()}
		name := setControl + f.suffix
		l.ranges(f, name, merged(cfg.ControlAllow))
		b.FlushSet(inet, name)
		b.AddElements(inet, l.inet.Sets[0], l.inet.Elements[name])
	}
}
