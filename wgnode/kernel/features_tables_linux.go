package kernel

import (
	"encoding/binary"
	"errors"
	"net/netip"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/waylume/waylume/ipam"
	"github.com/waylume/waylume/isolation"
	"github.com/waylume/waylume/wgnode/kernel/internal/nft"
	"github.com/waylume/waylume/wgnode/kernel/internal/rules"
)

// trial is a table with what one feature takes, and little else.
type trial struct {
	table nft.Table
	*nft.Content
}

// tried is the register that trials use.
const tried = unix.NFT_REG_1

func newTrial(family nft.Family, name string) trial {
	return trial{nft.Table{Family: family, Name: "probe_" + name}, nft.NewContent()}
}

// commit makes the table, in one transaction.
func (t trial) commit() error { return commit(nft.Ruleset{t.table: t.Content}) }

// commit makes tables that are not there, in one transaction.
func commit(tables nft.Ruleset) (err error) {
	conn, err := nft.Dial()
	if err != nil {
		return explainTables(err)
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	b := &nft.Batch{}
	for table, content := range tables {
		if _, err := nft.Diff(b, table, content, nil); err != nil {
			return err
		}
	}
	return conn.Commit(b)
}

// tryTables makes the dataplane's own tables, of a tunnel and an IFB that are both the loopback.
func tryTables(space) error {
	layout, err := wholeLayout()
	if err != nil {
		return err
	}
	return commit(layout)
}

func wholeLayout() (nft.Ruleset, error) {
	pool := ipam.DefaultConfig().Prefixes
	plan, err := isolation.Compile(isolation.Policy{}, nil, pool)
	if err != nil {
		return nil, err
	}
	return rules.Layout(rules.Config{
		Interface: "lo", IFB: "lo", IFBIndex: loopback, Uplink: "lo", Masquerade: true, Pool: pool,
		ControlPorts: []uint16{22}, Policy: rules.NewPolicy(plan),
	}), nil
}

// hook adds a chain of rules.
func (t trial) hook(kind string, number uint32, priority int32, rules ...[]nft.Expr) trial {
	c := nft.Chain{Name: "chain", Hook: &nft.Hook{Kind: kind, Number: number, Priority: priority}}
	for _, exprs := range rules {
		c.Rules = append(c.Rules, nft.Rule{Exprs: exprs})
	}
	t.Chains = append(t.Chains, c)
	return t
}

func (t trial) forward(rules ...[]nft.Expr) trial {
	return t.hook("filter", unix.NF_INET_FORWARD, 0, rules...)
}

// set adds a set or a map for the addresses of each family, with one element, and returns rules of them that end with what
// look makes of a set's name.
func (t trial) set(name string, kind nft.ValueType, value nft.Value, look func(set string) []nft.Expr) (rules [][]nft.Expr) {
	for _, f := range []struct {
		suffix         string
		protocol       byte
		key            nft.KeyType
		offset, length uint32
		addr           netip.Addr
	}{
		{"4", unix.NFPROTO_IPV4, nft.KeyIPv4, 12, 4, netip.AddrFrom4([4]byte{192, 0, 2, 1})},
		{"6", unix.NFPROTO_IPV6, nft.KeyIPv6, 8, 16, netip.IPv6LinkLocalAllNodes()},
	} {
		set := nft.Set{Name: name + f.suffix, Key: f.key, Value: kind}
		t.Sets = append(t.Sets, set)
		t.Add(set.Name, nft.Key{Data: string(f.addr.AsSlice())}, value)
		rules = append(rules, append(ofFamily(f.protocol),
			append(exprs(&expr.Payload{DestRegister: tried, Base: expr.PayloadBaseNetworkHeader, Offset: f.offset, Len: f.length}),
				look(set.Name)...)...))
	}
	return rules
}

// exprs makes a rule's expressions of the library's.
func exprs(list ...expr.Any) (out []nft.Expr) {
	for _, e := range list {
		out = append(out, nft.E{Any: e})
	}
	return out
}

// ofFamily matches packets of a family.
func ofFamily(protocol byte) []nft.Expr {
	return exprs(&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: tried}, equals(protocol))
}

func equals(data ...byte) expr.Any { return &expr.Cmp{Op: expr.CmpOpEq, Register: tried, Data: data} }

func end(kind expr.VerdictKind, chain string) expr.Any {
	return &expr.Verdict{Kind: kind, Chain: chain}
}

// chainsTrial has a chain at each hook where packets are judged, and what tells packets apart.
func chainsTrial() trial {
	t := newTrial(nft.Inet, "chains")
	t.Chains = append(t.Chains, nft.Chain{Name: "judge", Rules: []nft.Rule{{Exprs: exprs(end(expr.VerdictReturn, ""))}}})
	rules := [][]nft.Expr{
		exprs(&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: tried}, &expr.Cmp{Op: expr.CmpOpNeq, Register: tried, Data: make([]byte, unix.IFNAMSIZ)},
			end(expr.VerdictJump, "judge")),
		exprs(&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: tried}, equals(make([]byte, unix.IFNAMSIZ)...), end(expr.VerdictGoto, "judge")),
		exprs(&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: tried}, equals(unix.IPPROTO_TCP),
			&expr.Payload{DestRegister: tried, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
			&expr.Range{Op: expr.CmpOpEq, Register: tried, FromData: []byte{0, 1}, ToData: []byte{0, 2}},
			end(expr.VerdictDrop, "")),
	}
	for i, hook := range []uint32{unix.NF_INET_PRE_ROUTING, unix.NF_INET_LOCAL_IN, unix.NF_INET_FORWARD, unix.NF_INET_LOCAL_OUT} {
		t = t.hook("filter", hook, -300, rules...)
		t.Chains[i+1].Name += string(rune('0' + i))
	}
	return t
}

func setsTrial() trial {
	t := newTrial(nft.Inet, "sets")
	look := func(set string) []nft.Expr {
		return exprs(&expr.Lookup{SourceRegister: tried, SetName: set, Invert: true}, end(expr.VerdictDrop, ""))
	}
	rules := t.set("peers", nft.NoValue, nft.Value{}, look)
	for _, of := range []struct {
		name           string
		key            nft.KeyType
		base           expr.PayloadBase
		offset, length uint32
	}{
		{"ranges4", nft.KeyIPv4, expr.PayloadBaseNetworkHeader, 12, 4},
		{"ranges6", nft.KeyIPv6, expr.PayloadBaseNetworkHeader, 8, 16},
		{"ranges_port", nft.KeyPort, expr.PayloadBaseTransportHeader, 2, 2},
		{"ports", nft.KeyPort, expr.PayloadBaseTransportHeader, 2, 2},
	} {
		set := nft.Set{Name: of.name, Key: of.key, Interval: of.name != "ports"}
		t.Sets = append(t.Sets, set)
		low, high := make([]byte, of.length), make([]byte, of.length)
		low[of.length-1], high[of.length-1] = 1, 9
		t.Add(set.Name, nft.Key{Data: string(low)}, nft.Value{})
		if set.Interval {
			t.Add(set.Name, nft.Key{Data: string(high), End: true}, nft.Value{})
		}
		rules = append(rules, append(exprs(&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: tried}, equals(unix.IPPROTO_TCP),
			&expr.Payload{DestRegister: tried, Base: of.base, Offset: of.offset, Len: of.length}), look(set.Name)...))
	}
	return t.forward(rules...)
}

// classify looks up a packet's class.
func classify(set string) []nft.Expr {
	return exprs(&expr.Lookup{SourceRegister: tried, DestRegister: tried, IsDestRegSet: true, SetName: set},
		&expr.Meta{Key: expr.MetaKeyPRIORITY, SourceRegister: true, Register: tried})
}

func classesTrial() trial {
	t := newTrial(nft.Inet, "classes")
	return t.forward(t.set("classes", nft.ClassValue, nft.Value{Class: htbClass}, classify)...)
}

// objectsTrial has an object by name, and maps that lead to it.
func objectsTrial(name string, kind nft.ValueType, o nft.Object) trial {
	t := newTrial(nft.Inet, name)
	t.Objects["object"] = o
	return t.forward(t.set("objects", kind, nft.Value{Object: "object"}, func(set string) []nft.Expr {
		return []nft.Expr{nft.ObjectOf{Register: tried, Map: set}}
	})...)
}

func countersTrial() trial {
	t := objectsTrial("counters", nft.CounterValue, nft.Object{})
	t.Chains[0].Rules = append(t.Chains[0].Rules, nft.Rule{Exprs: []nft.Expr{nft.Counting{Counter: "object"}}})
	return t
}

func quotasTrial() trial {
	return objectsTrial("quotas", nft.QuotaValue, nft.Object{Quota: true, Bytes: 1 << 30, Used: 1, Over: true})
}

// clampTrial is "tcp flags syn tcp option maxseg size set rt mtu".
func clampTrial() trial {
	return newTrial(nft.Inet, "clamp").forward(exprs(
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: tried}, equals(unix.IPPROTO_TCP),
		&expr.Payload{DestRegister: tried, Base: expr.PayloadBaseTransportHeader, Offset: 13, Len: 1},
		&expr.Bitwise{SourceRegister: tried, DestRegister: tried, Len: 1, Mask: []byte{2}, Xor: []byte{0}}, equals(2),
		&expr.Rt{Register: tried, Key: expr.RtTCPMSS},
		&expr.Byteorder{SourceRegister: tried, DestRegister: tried, Op: expr.ByteorderHton, Len: 2, Size: 2},
		&expr.Exthdr{SourceRegister: tried, Type: 2, Offset: 2, Len: 2, Op: expr.ExthdrOpTcpopt}))
}

// ingressTrial has the hook on the loopback, and hands packets to it.
func ingressTrial() trial {
	t := newTrial(nft.NetDev, "ingress")
	rules := t.set("classes", nft.ClassValue, nft.Value{Class: htbClass}, classify)
	for i, ether := range []uint16{unix.ETH_P_IP, unix.ETH_P_IPV6} { // where there is no other word for the family
		rules[i] = append(exprs(&expr.Meta{Key: expr.MetaKeyPROTOCOL, Register: tried}, equals(binary.BigEndian.AppendUint16(nil, ether)...)),
			rules[i][2:]...)
	}
	t = t.hook("filter", unix.NF_NETDEV_INGRESS, 0, append(rules, append(
		exprs(&expr.Immediate{Register: tried, Data: binary.NativeEndian.AppendUint32(nil, loopback)}), nft.ForwardTo{Register: tried}))...)
	t.Chains[0].Hook.Device = "lo"
	return t
}

func conntrackTrial() trial {
	original := func(key expr.CtKey) expr.Any {
		return &expr.Ct{Register: tried, Key: key, Direction: expr.CtDirOriginal}
	}
	var rules [][]nft.Expr
	for _, load := range []expr.Any{
		&expr.Ct{Register: tried, Key: expr.CtKeySTATE}, &expr.Ct{Register: tried, Key: expr.CtKeySTATUS},
		original(expr.CtKeySRCIP), original(expr.CtKeyDSTIP),
	} {
		rules = append(rules, append(ofFamily(unix.NFPROTO_IPV4), exprs(load, equals(0, 0, 0, 0))...))
	}
	for _, key := range []expr.CtKey{expr.CtKeySRCIP6, expr.CtKeyDSTIP6} {
		rules = append(rules, append(ofFamily(unix.NFPROTO_IPV6), exprs(original(key), equals(make([]byte, 16)...))...))
	}
	rules = append(rules, exprs(&expr.Ct{Register: tried, Key: expr.CtKeyDIRECTION}, equals(expr.CtDirReply)),
		exprs(original(expr.CtKeyPROTOCOL), equals(unix.IPPROTO_TCP), original(expr.CtKeyPROTODST), equals(0, 25)))
	return newTrial(nft.Inet, "conntrack").forward(rules...)
}

// natTrial changes the source address of packets of each family.
func natTrial(name string, change func(protocol byte, size int) []nft.Expr) trial {
	return newTrial(nft.Inet, name).hook("nat", unix.NF_INET_POST_ROUTING, 100,
		append(ofFamily(unix.NFPROTO_IPV4), change(unix.NFPROTO_IPV4, 4)...),
		append(ofFamily(unix.NFPROTO_IPV6), change(unix.NFPROTO_IPV6, 16)...))
}

func masqueradeTrial() trial {
	return natTrial("masquerade", func(byte, int) []nft.Expr { return exprs(&expr.Masq{}) })
}

func sourceTrial() trial {
	return natTrial("snat", func(protocol byte, size int) []nft.Expr {
		return exprs(&expr.Immediate{Register: tried, Data: make([]byte, size)},
			&expr.NAT{Type: expr.NATTypeSourceNAT, Family: uint32(protocol), RegAddrMin: tried})
	})
}
