package isolation

import (
	"maps"
	"slices"
)

// services says which rules match a protocol and a port.
type services struct {
	// portless has, per protocol, the rules that match it whatever the port.
	portless [256]ruleset
	tcp, udp portTable
}

// portTable has the rules that match a port of one protocol: those of rules[i] for the ports from starts[i] up to the
// next start.
type portTable struct {
	starts []uint16
	rules  []ruleset
	some   ruleset // the rules that match some port
}

// at returns the rules that match port.
func (t *portTable) at(port uint16) ruleset {
	low, high := 0, len(t.starts)
	for high-low > 1 {
		if mid := int(uint(low+high) / 2); t.starts[mid] <= port {
			low = mid
		} else {
			high = mid
		}
	}
	return t.rules[low]
}

// service is what the rules ask about a flow beside its two ends.
type service struct {
	protocol Protocol
	port     uint16 // destination port, of TCP and UDP
	noPort   bool   // the port is not known, as in a later fragment
}

// of returns the rules that surely match, and those that match or would with some port; nil if these are the same.
func (s *services) of(v service) (sure, perhaps ruleset) {
	var table *portTable
	switch v.protocol {
	case TCP:
		table = &s.tcp
	case UDP:
		table = &s.udp
	default:
		return s.portless[v.protocol], nil
	}
	if v.noPort {
		return s.portless[v.protocol], table.some
	}
	return table.at(v.port), nil
}

func (p *Plan) compileServices(in *interner) services {
	var s services
	always := p.newSet()
	named := map[Protocol]ruleset{TCP: nil, UDP: nil}
	for i, r := range p.rules {
		switch {
		case r.Rule.Protocol != Any:
			named[r.Rule.Protocol] = nil
		case len(r.Ports) == 0:
			always.set(p.bitOf(i))
		}
	}
	for protocol := range named {
		set := slices.Clone(always)
		for i, r := range p.rules {
			if r.Rule.Protocol == protocol && len(r.Ports) == 0 {
				set.set(p.bitOf(i))
			}
		}
		named[protocol] = in.keep(set)
	}
	always = in.keep(always)
	for n := range s.portless {
		s.portless[n] = always
		if set, ok := named[Protocol(n)]; ok {
			s.portless[n] = set
		}
	}
	s.tcp = p.compilePorts(in, TCP, s.portless[TCP])
	s.udp = p.compilePorts(in, UDP, s.portless[UDP])
	return s
}

// compilePorts sweeps over the ports, and notes the set of rules wherever one begins or ends. A rule's own ranges are
// disjoint, so that each edge toggles its bit.
func (p *Plan) compilePorts(in *interner, protocol Protocol, portless ruleset) portTable {
	edges := map[uint32][]int{0: nil}
	some := slices.Clone(portless)
	for i, r := range p.rules {
		if r.Rule.Protocol != Any && r.Rule.Protocol != protocol {
			continue
		}
		for _, ports := range r.Ports {
			bit := p.bitOf(i)
			some.set(bit)
			edges[uint32(ports.First)] = append(edges[uint32(ports.First)], bit)
			edges[uint32(ports.Last)+1] = append(edges[uint32(ports.Last)+1], bit)
		}
	}
	delete(edges, 1<<16)
	t := portTable{some: in.keep(some)}
	now := slices.Clone(portless)
	for _, port := range slices.Sorted(maps.Keys(edges)) {
		for _, bit := range edges[port] {
			now.toggle(bit)
		}
		t.starts, t.rules = append(t.starts, uint16(port)), append(t.rules, in.keep(now))
	}
	return t
}
