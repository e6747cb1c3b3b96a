package isolation

import (
	"maps"
	"net/netip"
	"slices"
)

// Bounds on what one [Policy] and one [Subject] may hold, so that a policy from a stranger cannot exhaust memory.
const (
	// MaxRules is the largest number of rules of a policy, allow and deny together.
	MaxRules = 4096
	// MaxPrefixes is the largest number of prefixes in all matches of a policy together.
	MaxPrefixes = 65536
	// MaxPorts is the largest number of port ranges of one rule.
	MaxPorts = 256
	// MaxName is the length in bytes of the longest rule name, peer, account, label key or label value.
	MaxName = 256
	// MaxLabels is the largest number of labels of a subject or a match.
	MaxLabels = 64
	// MaxAddrs is the largest number of addresses of a subject.
	MaxAddrs = 64
)

// Subject is a peer as isolation sees it.
type Subject struct {
	// ID names the peer; a rule's Peers match it exactly. 1 to [MaxName] bytes.
	ID string
	// Account is the customer that the peer belongs to; empty for none, which no rule's Accounts match.
	Account string
	// Labels are free names and values that a rule's Labels match; at most [MaxLabels].
	Labels map[string]string
	// Addrs are the addresses the peer sends from and is reached at, of both families; 1 to [MaxAddrs] unicast addresses.
	Addrs []netip.Addr
}

// Clone returns a copy that shares nothing with s.
func (s Subject) Clone() Subject {
	s.Labels, s.Addrs = maps.Clone(s.Labels), slices.Clone(s.Addrs)
	return s
}

// Equal reports whether both describe the same peer with the same addresses in the same order.
func (s Subject) Equal(o Subject) bool {
	return s.ID == o.ID && s.Account == o.Account && maps.Equal(s.Labels, o.Labels) && slices.Equal(s.Addrs, o.Addrs)
}

// Match names one side of a rule. The zero Match matches anything. Otherwise it matches what any one of its fields
// matches: a match with an account and a prefix covers the peers of the account and the addresses of the prefix.
// A list that is present but empty is refused by [Policy.Validate]: it would read as "nobody" and mean "anything".
type Match struct {
	// Peers are the IDs of subjects.
	Peers []string `json:"peers,omitzero"`
	// Accounts match every peer of the account.
	Accounts []string `json:"accounts,omitzero"`
	// Labels match the peers that carry all of them, each with the same value.
	Labels map[string]string `json:"labels,omitzero"`
	// Prefixes, in a rule's To, match the destination address of a packet, be it a peer's, the host's or anybody's. An
	// IPv4 prefix also matches its addresses in NAT64 form (64:ff9b::/96, RFC 6052). In a rule's From they match each
	// peer that has an address inside, whichever of its addresses it sends from, so that the other family is no way
	// around.
	Prefixes []netip.Prefix `json:"prefixes,omitzero"`
	// Internet, in a rule's To, matches every destination that is neither a peer nor in a range that is closed by
	// default. It has no meaning in From, where it is refused.
	Internet bool `json:"internet,omitzero"`
}

// IsZero reports whether m matches anything.
func (m Match) IsZero() bool {
	return m.Peers == nil && m.Accounts == nil && m.Labels == nil && m.Prefixes == nil && !m.Internet
}

func (m Match) clone() Match {
	m.Peers, m.Accounts, m.Prefixes = slices.Clone(m.Peers), slices.Clone(m.Accounts), slices.Clone(m.Prefixes)
	m.Labels = maps.Clone(m.Labels)
	return m
}

func (m Match) equal(o Match) bool {
	return slices.Equal(m.Peers, o.Peers) && slices.Equal(m.Accounts, o.Accounts) && maps.Equal(m.Labels, o.Labels) &&
		slices.Equal(m.Prefixes, o.Prefixes) && m.Internet == o.Internet
}

// Rule matches the flows that a peer of From begins towards To, with Protocol and to one of Ports.
type Rule struct {
	// Name is for people; it takes no part in matching and need not be unique.
	Name string `json:"name,omitzero"`
	// From matches the peer that begins the flow; nothing but peers is ever matched by it.
	From Match `json:"from,omitzero"`
	// To matches where the flow goes.
	To Match `json:"to,omitzero"`
	// Protocol is the upper-layer protocol; the zero value is [Any].
	Protocol Protocol `json:"protocol,omitzero"`
	// Ports are destination ports. They restrict the rule to TCP and UDP when Protocol is [Any], and are refused with
	// any other protocol than these. None means every port.
	Ports []PortRange `json:"ports,omitzero"`
}

func (r Rule) clone() Rule {
	r.From, r.To, r.Ports = r.From.clone(), r.To.clone(), slices.Clone(r.Ports)
	return r
}

func (r Rule) equal(o Rule) bool {
	return r.Name == o.Name && r.From.equal(o.From) && r.To.equal(o.To) && r.Protocol == o.Protocol &&
		slices.Equal(r.Ports, o.Ports)
}

// Policy says who may reach what. The order of rules does not matter: a flow that any Deny rule matches is refused; else
// one that any Allow rule matches passes; else the default closures decide, as the package documentation lists them. The
// zero Policy is the default one.
//
// An Allow rule opens all that it names, whatever closed it: one with a zero To opens the host, every private range and
// every other peer to those it is From. Write Internet or Prefixes where that is not meant.
type Policy struct {
	Allow []Rule `json:"allow,omitzero"`
	Deny  []Rule `json:"deny,omitzero"`
}

// Clone returns a copy that shares nothing with p.
func (p Policy) Clone() Policy {
	return Policy{Allow: cloneRules(p.Allow), Deny: cloneRules(p.Deny)}
}

// Equal reports whether both hold the same rules in the same order.
func (p Policy) Equal(q Policy) bool {
	return slices.EqualFunc(p.Allow, q.Allow, Rule.equal) && slices.EqualFunc(p.Deny, q.Deny, Rule.equal)
}

func cloneRules(rules []Rule) []Rule {
	if rules == nil {
		return nil
	}
	out := make([]Rule, len(rules))
	for i, r := range rules {
		out[i] = r.clone()
	}
	return out
}
