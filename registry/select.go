package registry

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"math"
	"slices"
	"time"
)

// earthRadius is the mean radius R1 of the Earth by GRS 80 (Moritz, Geodetic Reference System 1980), in km.
const earthRadius = 6371.0088

// Select chooses a server for a query. It is the rule of every implementation of [Directory]; the SQL function waylume_select
// is the same. The outcome depends on the servers, the query and the time alone, and not on the order of the servers.
//
// A server is a candidate if no reason above [TooFar] is against it. Query.Current is kept if it is one. Else one of the
// candidates that are near enough is drawn by weighted rendezvous hashing (Wang and Ravishankar, "Mapping names into a cache
// hierarchy", 1998; weights by the logarithm of Schindelhauer and Schomaker, "Weighted Distributed Hash Tables", 2005): each
// gets a number from the session key and its ID alone, divided by its weight, and the lowest wins. So keys spread over the
// servers in proportion to the room that these have, however many choose at once and without any of them knowing of another;
// and a server that comes, goes or changes moves no key between two others.
func Select(servers []Server, q Query, now time.Time) Selection {
	q = q.WithDefaults()
	demand := newDemand(q, now)
	verdicts := make([]ranked, len(servers))
	nearest, current := -1, -1
	for i := range servers {
		s := &servers[i]
		v := &verdicts[i]
		v.Verdict = Verdict{Server: s.ID, Name: s.Name, Distance: -1}
		v.server = i
		if q.Position != nil && s.Position != nil {
			v.Distance = Distance(*q.Position, *s.Position)
		}
		if v.Reason = demand.against(s); v.Reason != "" {
			continue
		}
		if q.Current != "" && s.ID == q.Current {
			current = i
		}
		if v.Distance >= 0 && (nearest < 0 || v.Distance < nearest) {
			nearest = v.Distance
		}
	}
	for i := range verdicts {
		v := &verdicts[i]
		switch {
		case v.Reason != "":
			continue
		case i == current:
			v.Reason = KeptCurrent
		case nearest >= 0 && (v.Distance < 0 || v.Distance > nearest+q.Slack):
			v.Reason = TooFar
			continue
		default:
			v.Reason = NotDrawn
		}
		v.Weight = servers[i].Weight()
		v.score = draw(q.SessionKey, v.Server, v.Weight)
	}
	slices.SortFunc(verdicts, ranked.compare)
	selection := Selection{Verdicts: make([]Verdict, len(verdicts)), At: now}
	if len(verdicts) > 0 {
		first := &verdicts[0]
		if first.Reason == NotDrawn {
			first.Reason = Drawn
		}
		if first.Reason == Drawn || first.Reason == KeptCurrent {
			selection.Server = servers[first.server]
		}
	}
	for i := range verdicts {
		selection.Verdicts[i] = verdicts[i].Verdict
	}
	return selection
}

// ranked is a verdict while the order is not known.
type ranked struct {
	Verdict
	server int     // its index
	score  float64 // of a candidate
}

func (v ranked) compare(w ranked) int {
	if c := cmp.Compare(v.class(), w.class()); c != 0 {
		return c
	}
	if v.class() == candidate {
		return cmp.Or(cmp.Compare(v.score, w.score), cmp.Compare(v.Server, w.Server))
	}
	return cmp.Or(cmp.Compare(v.Name, w.Name), cmp.Compare(v.Server, w.Server))
}

// Where verdicts stand.
const (
	kept = iota
	candidate
	refused
)

func (v ranked) class() int {
	switch v.Reason {
	case KeptCurrent:
		return kept
	case NotDrawn:
		return candidate
	default:
		return refused
	}
}

// demand is a query as it is asked of each server.
type demand struct {
	Query
	now       time.Time
	freshness time.Duration
	exclude   map[ID]struct{}
}

func newDemand(q Query, now time.Time) demand {
	d := demand{Query: q, now: now, freshness: time.Duration(q.Freshness) * time.Second, exclude: make(map[ID]struct{}, len(q.Exclude))}
	for _, id := range q.Exclude {
		d.exclude[id] = struct{}{}
	}
	return d
}

// against returns the first reason against a server, of those that do not depend on other servers; empty: there is none.
func (d demand) against(s *Server) Reason {
	if _, ok := d.exclude[s.ID]; ok {
		return Excluded
	}
	if s.APIURL == "" {
		return NoAPI
	}
	if cmp.Or(s.Pool, DefaultPool) != d.Pool {
		return OtherPool
	}
	if reason := d.elsewhere(s); reason != "" {
		return reason
	}
	for _, f := range d.Features {
		if !slices.Contains(s.Features, f) {
			return LacksFeature
		}
	}
	if v4, v6 := s.EndpointV4.IsValid(), s.EndpointV6.IsValid(); d.Family == 4 && !v4 || d.Family == 6 && !v6 || !v4 && !v6 {
		return NoEndpoint
	}
	switch used := max(s.Peers, s.Assigned); {
	case !s.Fresh(d.now, d.freshness):
		return Stale
	case s.Health == Failing:
		return Unhealthy
	case s.Draining:
		return IsDraining
	case s.Capacity.Peers > 0 && used >= s.Capacity.Peers:
		return Full
	case d.MaxLoad < 1 && s.Load.Score >= d.MaxLoad:
		return Overloaded
	}
	return ""
}

func (d demand) elsewhere(s *Server) Reason {
	switch {
	case d.Region != "" && s.Region != d.Region:
		return OtherRegion
	case d.Country != "" && s.Country != d.Country:
		return OtherCountry
	case d.City != "" && s.City != d.City:
		return OtherCity
	}
	return ""
}

// Fresh says whether the server's last heartbeat is at most this old. 0: DefaultFreshness.
func (s *Server) Fresh(now time.Time, freshness time.Duration) bool {
	if freshness == 0 {
		freshness = DefaultFreshness
	}
	return !s.HeartbeatAt.IsZero() && now.Sub(s.HeartbeatAt) <= freshness
}

// Weight is the room that the server has for sessions: its capacity less what is taken, in that part of it that its load leaves
// free. At least 1.
func (s *Server) Weight() int64 {
	free := max(1, cmp.Or(s.Capacity.Peers, DefaultCapacity)-max(s.Peers, s.Assigned))
	return max(1, int64(math.Floor(float64(free)*(1-min(max(s.Load.Score, 0), 1)))))
}

// draw is the number by which a server stands in the order for a key: exponentially distributed over keys, with its weight
// as the rate, so that it is the lowest in proportion to the weight.
func draw(key string, id ID, weight int64) float64 {
	var buf [MaxKeyLen + 64]byte
	b := append(buf[:0], key...)
	b = append(b, 0)
	b = append(b, id...)
	sum := sha256.Sum256(b)
	h := binary.BigEndian.Uint64(sum[:8]) >> 11 // as many bits as a float64 has
	u := (float64(h) + 0.5) / (1 << 53)
	return -math.Log(u) / float64(weight)
}

// Distance is that between two points along the surface of the Earth, taken as a sphere, in km, rounded.
func Distance(a, b Position) int {
	const radian = math.Pi / 180
	lat := math.Sin((b.Latitude - a.Latitude) * radian / 2)
	lon := math.Sin((b.Longitude - a.Longitude) * radian / 2)
	h := lat*lat + math.Cos(a.Latitude*radian)*math.Cos(b.Latitude*radian)*lon*lon
	return int(math.Floor(2*earthRadius*math.Asin(math.Sqrt(min(1, h))) + 0.5))
}

// Match says whether a filter lets a server through, at a time.
func (f Filter) Match(s *Server, now time.Time) bool {
	switch {
	case f.Pool != "" && f.Pool != cmp.Or(s.Pool, DefaultPool):
		return false
	case f.Region != "" && f.Region != s.Region, f.Country != "" && f.Country != s.Country, f.City != "" && f.City != s.City:
		return false
	case f.Fresh != 0 && !s.Fresh(now, f.Fresh):
		return false
	}
	return !f.Online || s.Fresh(now, f.Fresh) && s.Health != Failing && !s.Draining
}
