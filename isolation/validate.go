package isolation

import (
	"fmt"
	"net/netip"
	"slices"
	"unicode/utf8"
)

// Validate reports every problem of the policy in one [*PolicyError].
func (p Policy) Validate() error {
	v := validator{}
	v.policy(p)
	if len(v.problems) > 0 {
		return &PolicyError{Problems: v.problems}
	}
	return nil
}

// maxProblems bounds the length of an error about hostile input.
const maxProblems = 50

// validator collects problems; at is where it looks.
type validator struct {
	at       string
	problems []string
}

func (v *validator) add(format string, args ...any) {
	switch {
	case len(v.problems) < maxProblems:
		v.problems = append(v.problems, v.at+fmt.Sprintf(format, args...))
	case len(v.problems) == maxProblems:
		v.problems = append(v.problems, "and more")
	}
}

func (v *validator) policy(p Policy) {
	if n := len(p.Allow) + len(p.Deny); n > MaxRules {
		v.add("%d rules: at most %d are allowed", n, MaxRules)
	}
	prefixes := 0
	for _, list := range []struct {
		name  string
		rules []Rule
	}{{"allow", p.Allow}, {"deny", p.Deny}} {
		for i, r := range list.rules {
			v.at = fmt.Sprintf("%s[%d]: ", list.name, i)
			if r.Name != "" {
				v.at = fmt.Sprintf("%s[%d] %.40q: ", list.name, i, r.Name)
			}
			v.rule(r)
			prefixes += len(r.From.Prefixes) + len(r.To.Prefixes)
		}
	}
	v.at = ""
	if prefixes > MaxPrefixes {
		v.add("%d prefixes in all: at most %d are allowed", prefixes, MaxPrefixes)
	}
}

func (v *validator) rule(r Rule) {
	if len(r.Name) > MaxName || !utf8.ValidString(r.Name) {
		v.add("name: at most %d bytes of UTF-8", MaxName)
	}
	v.match("from", r.From)
	v.match("to", r.To)
	if r.From.Internet {
		v.add("from: internet has no meaning here: rules are about flows that peers begin")
	}
	if problem := r.Protocol.problem(); problem != "" {
		v.add("protocol: %s", problem)
	}
	v.ports(r)
}

func (v *validator) ports(r Rule) {
	switch {
	case r.Ports == nil:
		return
	case len(r.Ports) == 0:
		v.add("ports: the list is empty: leave it out for every port")
	case len(r.Ports) > MaxPorts:
		v.add("ports: %d ranges: at most %d are allowed", len(r.Ports), MaxPorts)
	case r.Protocol != Any && !r.Protocol.hasPorts():
		v.add("ports: protocol %s has none: use tcp, udp or any", r.Protocol)
	}
	for _, ports := range r.Ports {
		if problem := ports.problem(); problem != "" {
			v.add("ports: %s", problem)
		}
	}
}

func (v *validator) match(side string, m Match) {
	v.names(side+": peers", m.Peers)
	v.names(side+": accounts", m.Accounts)
	if m.Labels != nil {
		v.labels(side+": labels", m.Labels)
		if len(m.Labels) == 0 {
			v.add("%s: labels: the list is empty, and would match anything: leave it out if that is meant", side)
		}
	}
	if m.Prefixes != nil && len(m.Prefixes) == 0 {
		v.empty(side + ": prefixes")
	}
	for _, prefix := range m.Prefixes {
		if problem := prefixProblem(prefix); problem != "" {
			v.add("%s: prefixes: %s", side, problem)
		}
	}
}

func (v *validator) empty(what string) {
	v.add("%s: the list is empty, and would match anything: leave it out if that is meant", what)
}

func (v *validator) names(what string, names []string) {
	if names != nil && len(names) == 0 {
		v.empty(what)
	}
	for _, name := range names {
		if problem := nameProblem(name); problem != "" {
			v.add("%s: %s", what, problem)
		}
	}
}

func (v *validator) labels(what string, labels map[string]string) {
	if len(labels) > MaxLabels {
		v.add("%s: %d labels: at most %d are allowed", what, len(labels), MaxLabels)
		return
	}
	for _, key := range sortedKeys(labels) {
		if problem := nameProblem(key); problem != "" {
			v.add("%s: key %s", what, problem)
		}
		if value := labels[key]; value != "" && nameProblem(value) != "" {
			v.add("%s: value of %.40q: %s", what, key, nameProblem(value))
		}
	}
}

func nameProblem(name string) string {
	switch {
	case name == "":
		return "a name is empty"
	case len(name) > MaxName:
		return fmt.Sprintf("%.40q... is longer than %d bytes", name, MaxName)
	case !utf8.ValidString(name):
		return fmt.Sprintf("%.40q is not UTF-8", name)
	}
	return ""
}

func prefixProblem(prefix netip.Prefix) string {
	switch {
	case !prefix.IsValid():
		return "a prefix is not valid"
	case prefix.Addr().Is4In6():
		return fmt.Sprintf("%s is IPv4-mapped: write it as IPv4", prefix)
	case prefix != prefix.Masked():
		return fmt.Sprintf("%s has bits set past its length: write %s", prefix, prefix.Masked())
	}
	return ""
}

// Validate reports every problem of the subject in one [*SubjectError].
func (s Subject) Validate() error {
	v := validator{}
	if problem := nameProblem(s.ID); problem != "" {
		v.add("id: %s", problem)
	}
	if s.Account != "" && nameProblem(s.Account) != "" {
		v.add("account: %s", nameProblem(s.Account))
	}
	v.labels("labels", s.Labels)
	switch n := len(s.Addrs); {
	case n == 0:
		v.add("addresses: there are none: give the peer at least one")
	case n > MaxAddrs:
		v.add("addresses: there are %d: at most %d are allowed", n, MaxAddrs)
	}
	for i, addr := range s.Addrs {
		if problem := subjectAddrProblem(addr); problem != "" {
			v.add("address %s: %s", addr, problem)
		}
		if slices.Contains(s.Addrs[:i], addr) {
			v.add("address %s: it is there twice", addr)
		}
	}
	if len(v.problems) > 0 {
		return &SubjectError{ID: s.ID[:min(len(s.ID), 40)], Problems: v.problems}
	}
	return nil
}

func subjectAddrProblem(addr netip.Addr) string {
	switch {
	case !addr.IsValid():
		return "it is not valid"
	case addr.Is4In6():
		return "it is IPv4-mapped: give it as IPv4"
	case addr.Zone() != "":
		return "it has a zone"
	case addr.IsUnspecified(), addr.IsMulticast(), addr.IsLoopback():
		return "a peer's address is a unicast address and not loopback"
	}
	return ""
}
