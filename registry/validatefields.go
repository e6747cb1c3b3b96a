package registry

import "fmt"

func (p *problems) status(s Status) {
	p.count("Peers", int64(s.Peers), MaxPeers)
	p.count("Connected", int64(s.Connected), MaxPeers)
	switch s.Health {
	case "", Healthy, Degraded, Failing:
	default:
		p.add("Health", "%.80q is not %s, %s or %s", s.Health, Healthy, Degraded, Failing)
	}
	p.count("Reasons", int64(len(s.Reasons)), MaxReasons)
	for i, r := range s.Reasons[:min(len(s.Reasons), MaxReasons)] {
		p.text(fmt.Sprintf("Reasons[%d]", i), r, 1, MaxReasonLen)
	}
	p.load(s.Load)
}

func (p *problems) load(l Load) {
	p.within("Load.Score", l.Score, 0, 1)
	p.fraction("Load.CPU", l.CPU)
	p.fraction("Load.Memory", l.Memory)
	p.fraction("Load.Conntrack", l.Conntrack)
	p.fraction("Load.Uplink", l.Uplink)
	p.fraction("Load.Peers", l.Peers)
	p.atLeast("Load.ReceivedRate", l.ReceivedRate, 0)
	p.atLeast("Load.SentRate", l.SentRate, 0)
	p.atLeast("Load.ReceivedPackets", l.ReceivedPackets, 0)
	p.atLeast("Load.SentPackets", l.SentPackets, 0)
	switch l.Scaling {
	case "", Steady, ScaleOut, ScaleIn:
	default:
		p.add("Load.Scaling", "%.80q is not %s, %s or %s", l.Scaling, Steady, ScaleOut, ScaleIn)
	}
}

func (p *problems) query(prefix string, q Query) {
	p.place(prefix, q.Region, q.Country, q.City, q.Position)
	p.text(prefix+"Pool", q.Pool, 0, MaxNameLen)
	p.features(prefix, q.Features)
	if q.Family != 0 && q.Family != 4 && q.Family != 6 {
		p.add(prefix+"Family", "%d is not 4, 6 or 0", q.Family)
	}
	p.count(prefix+"Slack", int64(q.Slack), maxSlack)
	p.text(prefix+"SessionKey", q.SessionKey, 0, MaxKeyLen)
	if q.Current != "" {
		p.id(prefix+"Current", string(q.Current))
	}
	p.count(prefix+"Exclude", int64(len(q.Exclude)), MaxExclude)
	for i, id := range q.Exclude[:min(len(q.Exclude), MaxExclude)] {
		p.id(fmt.Sprintf("%sExclude[%d]", prefix, i), string(id))
	}
	p.count(prefix+"Freshness", int64(q.Freshness), maxFreshness)
	p.within(prefix+"MaxLoad", q.MaxLoad, 0, 1)
}

func (p *problems) fraction(field string, x *float64) {
	if x != nil {
		p.within(field, *x, 0, 1)
	}
}
