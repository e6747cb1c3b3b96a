package rules

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/netip"
	"slices"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/waylume/waylume/isolation"
	"github.com/waylume/waylume/wgnode/kernel/internal/nft"
)

// Policy is a plan with names for its rules.
type Policy struct {
	plan  *isolation.Plan
	rules []isolation.PlannedRule
	names []string
}

// NewPolicy names the rules of a plan.
func NewPolicy(plan *isolation.Plan) *Policy {
	p := &Policy{plan: plan, rules: plan.Rules()}
	for _, r := range p.rules {
		p.names = append(p.names, nameOf(r))
	}
	return p
}

// judge says whether a flow may be. Its chains return for what passes.
func (l *layout) judge(f family) {
	n := f.suffix
	target := original(f.ctTarget)
	judge := []nft.Rule{
		rule("only peers begin flows", []nft.Expr{original(f.ctSource), notInSet(setPeers + n)}, drop(counterOf(reasonUnsolicited))),
	}
	if n == "6" {
		judge = append(judge, rule("addresses in disguise", isatap(target), goTo("isatap")))
		l.chain("isatap", nil,
			rule("", []nft.Expr{target, inSet(setPeers + n)}, goTo("closed"+n)),
			rule("", drop(counterOf(reasonEmbedded))))
	}
	l.chain("judge"+n, nil, append(judge,
		rule("", []nft.Expr{target, inSet(setClosed + n)}, goTo("closed"+n)),
		rule("mail", f.flowProtocol(unix.IPPROTO_TCP), flowPort(smtp, smtp), goTo("restricted"+n)),
		rule("", goTo("deny"+n)))...)
	l.chain("closed"+n, nil,
		rule("", []nft.Expr{target, inSet(setPeers + n)}, goTo("restricted"+n)),
		rule("no rule opens these", []nft.Expr{target, inSet(setFinal + n)}, drop(counterOf(reasonEmbedded))),
		rule("", goTo("restricted"+n)))
	l.chain("restricted"+n, nil, rule("", jump("deny"+n)), rule("", goTo("allow"+n)))
}

const smtp = 25

// isatap matches an address of the form of isolation.IsISATAP, from the register that load fills.
func isatap(load nft.Expr) []nft.Expr {
	form := make([]byte, 16)
	form[10], form[11] = 0x5e, 0xfe
	bits := make([]byte, 16)
	bits[8], bits[9], bits[10], bits[11] = 0xfd, 0xff, 0xff, 0xff
	return []nft.Expr{
		load, one(&expr.Bitwise{SourceRegister: reg, DestRegister: reg, Len: 16, Mask: bits, Xor: make([]byte, 16)}), is(form),
	}
}

// policy are the chains of the policy's rules: those that deny, and those that allow with what closes the rest.
func (l *layout) policy(f family) {
	var deny, allow []nft.Rule
	done := make(map[string]bool)
	for i, r := range l.cfg.Policy.rules {
		name := l.cfg.Policy.names[i]
		var compiled []nft.Rule
		end := giveBack()
		if r.Deny {
			end = drop(counterOf(reasonDenied))
		}
		if !done[name] {
			done[name] = true
			l.ruleSets(f, r, name)
		}
		for _, target := range targets(f, r, name) {
			for _, service := range services(f, r, name) {
				compiled = append(compiled, rule(r.Rule.Name, begins(f, r, name), target, service, end))
			}
		}
		if r.Deny {
			deny = append(deny, compiled...)
		} else {
			allow = append(allow, compiled...)
		}
	}
	l.chain("deny"+f.suffix, nil, deny...)
	l.chain("allow"+f.suffix, nil, append(allow, rule("closed by default", drop(counterOf(reasonClosed))))...)
}

// nameOf is a name for a rule that says all of it, so that a policy which has the rule still finds its sets.
func nameOf(r isolation.PlannedRule) string {
	named := r.Rule
	named.Name = ""
	text, err := json.Marshal(named)
	if err != nil {
		panic(err) // a compiled rule consists of what marshals
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:8])
}

func identifies(m isolation.Match) bool {
	return m.Peers != nil || m.Accounts != nil || m.Labels != nil
}

// ruleSets makes the sets of a rule, empty but for what does not depend on peers.
func (l *layout) ruleSets(f family, r isolation.PlannedRule, name string) {
	if !r.Rule.From.IsZero() {
		l.set(ruleFrom+name+f.suffix, f.key, nft.NoValue)
	}
	if identifies(r.Rule.To) {
		l.set(ruleTo+name+f.suffix, f.key, nft.NoValue)
	}
	if hasTargets(f, r) {
		l.ranges(f, ruleTarget+name+f.suffix, r.Destinations)
	}
	if len(r.Ports) > 1 && f.suffix == "4" { // both families share them
		set := rulePorts + name
		l.inet.Sets = append(l.inet.Sets, nft.Set{Name: set, Key: nft.KeyPort, Interval: true})
		for _, p := range r.Ports {
			l.inet.Add(set, nft.Key{Data: string(big16(p.First))}, nft.Value{})
			if p.Last < 65535 {
				l.inet.Add(set, nft.Key{Data: string(big16(p.Last + 1)), End: true}, nft.Value{})
			}
		}
	}
}

func hasTargets(f family, r isolation.PlannedRule) bool {
	return slices.ContainsFunc(r.Destinations, func(p netip.Prefix) bool { return f.has(p.Addr()) })
}

// begins matches who begins the flow.
func begins(f family, r isolation.PlannedRule, name string) []nft.Expr {
	if r.Rule.From.IsZero() {
		return nil
	}
	return []nft.Expr{original(f.ctSource), inSet(ruleFrom + name + f.suffix)}
}

// targets are the ways for a flow to go where the rule says, each a part of a rule of its own.
func targets(f family, r isolation.PlannedRule, name string) (ways [][]nft.Expr) {
	if r.AnyDestination {
		return [][]nft.Expr{nil}
	}
	target := original(f.ctTarget)
	if hasTargets(f, r) {
		ways = append(ways, []nft.Expr{target, inSet(ruleTarget + name + f.suffix)})
	}
	if identifies(r.Rule.To) {
		ways = append(ways, []nft.Expr{target, inSet(ruleTo + name + f.suffix)})
	}
	if r.Rule.To.Internet {
		ways = append(ways, []nft.Expr{target, notInSet(setClosed + f.suffix)})
	}
	return ways
}

// services are the protocols and ports of a rule, each a part of a rule of its own.
func services(f family, r isolation.PlannedRule, name string) (ways [][]nft.Expr) {
	var protocols []uint8
	switch p := r.Rule.Protocol; {
	case p == isolation.Any && len(r.Ports) == 0:
		return [][]nft.Expr{nil}
	case p == isolation.Any:
		protocols = []uint8{unix.IPPROTO_TCP, unix.IPPROTO_UDP}
	case p == isolation.ICMP:
		protocols = []uint8{f.icmp}
	default:
		protocols = []uint8{uint8(p)}
	}
	for _, number := range protocols {
		way := f.flowProtocol(number)
		switch len(r.Ports) {
		case 0:
		case 1:
			way = append(way, flowPort(r.Ports[0].First, r.Ports[0].Last)...)
		default:
			way = append(way, original(expr.CtKeyPROTODST), inSet(rulePorts+name))
		}
		ways = append(ways, way)
	}
	return ways
}

// merged sorts prefixes and leaves out those inside another.
func merged(prefixes []netip.Prefix) (out []netip.Prefix) {
	for _, p := range slices.SortedFunc(slices.Values(prefixes), func(a, b netip.Prefix) int { return a.Masked().Compare(b.Masked()) }) {
		if n := len(out); n == 0 || !out[n-1].Contains(p.Addr()) {
			out = append(out, p.Masked())
		}
	}
	return out
}
