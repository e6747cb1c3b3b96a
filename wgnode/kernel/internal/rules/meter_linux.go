package rules

import (
	"maps"
	"net/netip"
	"slices"

	"github.com/google/nftables/expr"

	"github.com/waylume/waylume/isolation"
	"github.com/waylume/waylume/wgnode/kernel/internal/nft"
)

// meter is the chain that holds packets of one direction to caps, and counts those that pass; and for download gives them their
// class.
func (l *layout) meter(f family, way string, offset uint32) {
	evaluate := func(whose, what string) []nft.Expr {
		return []nft.Expr{f.load(offset), nft.ObjectOf{Register: reg, Map: whose + what + way + f.suffix}}
	}
	refuse := drop(counterOf(reasonCap))
	rules := []nft.Rule{
		rule("the peer's cap", evaluate("", mapLimit), refuse),
		rule("the account's cap", evaluate(ofAccount, mapLimit), refuse),
	}
	for _, whose := range []string{"", ofAccount} {
		rules = append(rules, rule("", evaluate(whose, mapWatch)), rule("", evaluate(whose, mapCount)))
	}
	if way == download {
		rules = append(rules, rule("the class that shapes", []nft.Expr{
			f.load(offset),
			one(&expr.Lookup{SourceRegister: reg, DestRegister: reg, IsDestRegSet: true, SetName: setClasses + f.suffix}),
			one(&expr.Meta{Key: expr.MetaKeyPRIORITY, SourceRegister: true, Register: reg}),
		}))
	}
	l.chain("meter"+way+f.suffix, nil, rules...)
}

// ClassElements are the elements of a table's maps from addresses to classes.
func ClassElements(actual *nft.Actual) []map[nft.Key]nft.Value {
	return []map[nft.Key]nft.Value{actual.Elements[setClasses+"4"], actual.Elements[setClasses+"6"]}
}

// Objects are the names of the objects that meter one subject, empty for those that it has not.
type Objects struct {
	// LimitUp and LimitDown are quotas past which packets are dropped, WatchUp and WatchDown those that only report.
	LimitUp, LimitDown, WatchUp, WatchDown string
	// CountUp and CountDown are counters.
	CountUp, CountDown string
}

// Peer is one peer as the tables see it.
type Peer struct {
	Subject isolation.Subject
	// Class shapes it, both ways; 0 for no class.
	Class uint32
	// Blocked lets nothing pass.
	Blocked bool
	Objects Objects
	// Account has no names where there is no account.
	Account Objects
}

// Equal reports whether the tables hold the same of both.
func (p Peer) Equal(q Peer) bool {
	return p.Class == q.Class && p.Blocked == q.Blocked && p.Objects == q.Objects && p.Account == q.Account &&
		p.Subject.ID == q.Subject.ID && p.Subject.Account == q.Subject.Account &&
		slices.Equal(p.Subject.Addrs, q.Subject.Addrs) && maps.Equal(p.Subject.Labels, q.Subject.Labels)
}

// Place is where an element belongs.
type Place struct {
	Table nft.Table
	Set   nft.Set
	Key   nft.Key
}

// Elements calls yield for all that the tables hold of a peer.
func (p *Policy) Elements(iface string, peer Peer, yield func(Place, nft.Value)) {
	c := collector{yield: yield}
	c.inet, c.netdev = Tables(iface)
	from, to := p.plan.Selects(peer.Subject)
	for _, addr := range peer.Subject.Addrs {
		f := familyOf(addr)
		c.key, c.addr = f.key, nft.Key{Data: string(addr.AsSlice())}
		n := f.suffix
		c.put(c.inet, setPeers+n, nft.NoValue, nft.Value{})
		if peer.Blocked {
			c.put(c.inet, setBlocked+n, nft.NoValue, nft.Value{})
		}
		c.put(c.inet, setClasses+n, nft.ClassValue, nft.Value{Class: peer.Class})
		c.put(c.netdev, setClasses+n, nft.ClassValue, nft.Value{Class: peer.Class})
		c.objects("", peer.Objects, n)
		c.objects(ofAccount, peer.Account, n)
		for _, i := range from {
			if !p.rules[i].Rule.From.IsZero() {
				c.put(c.inet, ruleFrom+p.names[i]+n, nft.NoValue, nft.Value{})
			}
		}
		for _, i := range to {
			if identifies(p.rules[i].Rule.To) {
				c.put(c.inet, ruleTo+p.names[i]+n, nft.NoValue, nft.Value{})
			}
		}
	}
}

// Blocked is the element that keeps an address from moving anything.
func Blocked(iface string, addr netip.Addr) Place {
	f := familyOf(addr)
	inet, _ := Tables(iface)
	return Place{inet, nft.Set{Name: setBlocked + f.suffix, Key: f.key}, nft.Key{Data: string(addr.AsSlice())}}
}

type collector struct {
	yield        func(Place, nft.Value)
	inet, netdev nft.Table
	key          nft.KeyType
	addr         nft.Key
}

func (c *collector) put(t nft.Table, set string, kind nft.ValueType, v nft.Value) {
	c.yield(Place{t, nft.Set{Name: set, Key: c.key, Value: kind}, c.addr}, v)
}

func (c *collector) objects(whose string, o Objects, n string) {
	for _, at := range [...]struct {
		set    string
		kind   nft.ValueType
		object string
	}{
		{mapLimit + upload, nft.QuotaValue, o.LimitUp}, {mapLimit + download, nft.QuotaValue, o.LimitDown},
		{mapWatch + upload, nft.QuotaValue, o.WatchUp}, {mapWatch + download, nft.QuotaValue, o.WatchDown},
		{mapCount + upload, nft.CounterValue, o.CountUp}, {mapCount + download, nft.CounterValue, o.CountDown},
	} {
		if at.object != "" {
			c.put(c.inet, whose+at.set+n, at.kind, nft.Value{Object: at.object})
		}
	}
}

func familyOf(addr netip.Addr) family {
	for _, f := range families() {
		if f.has(addr) {
			return f
		}
	}
	return families()[0]
}
