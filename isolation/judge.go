package isolation

import "net/netip"

const smtp = 25

// judge applies steps 2 to 6 of [Plan] to a flow that the subject of from begins towards dst, which is an address of the
// subject of to, or nobody's if to is nil.
func (p *Plan) judge(from, to *selection, dst netip.Addr, v service) Verdict {
	d := p.destinationOf(dst)
	named := p.none
	switch {
	case to != nil:
		named = to.to
	case d.final || IsISATAP(dst):
		return Verdict{Reason: ReasonEmbedded}
	case d.open:
		named = p.internet
	}
	sure, perhaps := p.services.of(v)
	denied, unsure := match(0, p.denyWords, from.from, d.rules, named, sure, perhaps)
	switch {
	case denied:
		return Verdict{Reason: ReasonDenied}
	case unsure:
		return Verdict{Reason: ReasonFragment}
	}
	allowed, unsure := match(p.denyWords, p.ruleWords, from.from, d.rules, named, sure, perhaps)
	if allowed {
		return Verdict{Allow: true, Reason: ReasonAllowed}
	}
	verdict := d.byDefault(to != nil, v)
	if unsure && !verdict.Allow {
		return Verdict{Reason: ReasonFragment}
	}
	return verdict
}

// byDefault applies steps 5 and 6 of [Plan].
func (d *destination) byDefault(peer bool, v service) Verdict {
	switch {
	case peer:
		return Verdict{Reason: ReasonPeer}
	case !d.open:
		return Verdict{Reason: d.reason}
	case v.protocol == TCP && v.noPort:
		return Verdict{Reason: ReasonFragment}
	case v.protocol == TCP && v.port == smtp:
		return Verdict{Reason: ReasonSMTP}
	}
	return Verdict{Allow: true, Reason: ReasonInternet}
}

// match reports whether a rule of the words first to last is in from, in one of address and named, and in sure; else
// whether one would be, with perhaps instead of sure.
func match(first, last int, from, address, named, sure, perhaps ruleset) (matched, unsure bool) {
	for i := first; i < last; i++ {
		candidates := from[i] & (address[i] | named[i])
		if candidates&sure[i] != 0 {
			return true, false
		}
		if perhaps != nil && candidates&perhaps[i] != 0 {
			unsure = true
		}
	}
	return false, unsure
}
