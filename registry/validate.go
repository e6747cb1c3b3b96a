package registry

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Bounds of what nobody needs to be longer.
const (
	MaxURLLen     = 512
	MaxKeyLen     = 128      // of a user, an idempotency key, a session key
	MaxPeerLen    = 16 << 10 // of NewSession.Peer
	MaxUsageBytes = 1 << 50  // of one PeerUsage, each way: 1 PiB
	maxSlack      = 20_000   // km, half way round the Earth
	maxFreshness  = 86_400   // seconds
)

// WithDefaults returns the registration with what it leaves out: the pool, and the audience.
func (r Registration) WithDefaults() Registration {
	if r.Pool == "" {
		r.Pool = DefaultPool
	}
	if r.Audience == "" {
		r.Audience = r.Name
	}
	r.APIURL = strings.TrimSuffix(r.APIURL, "/")
	return r
}

// Validate returns nil, or an error that is [ErrInvalid] and names every problem.
func (r Registration) Validate() error {
	var p problems
	p.name("Name", r.Name)
	p.key("PublicKey", r.PublicKey)
	if r.EndpointV4 == (netip.AddrPort{}) && r.EndpointV6 == (netip.AddrPort{}) {
		p.add("EndpointV4", "neither it nor EndpointV6 is there: clients need an address and a port to reach the node at")
	}
	p.endpoint("EndpointV4", r.EndpointV4, "an IPv4 address", netip.Addr.Is4)
	p.endpoint("EndpointV6", r.EndpointV6, "an IPv6 address", func(a netip.Addr) bool { return a.Is6() && !a.Is4In6() && a.Zone() == "" })
	p.apiURL("APIURL", r.APIURL)
	p.text("Audience", r.Audience, 0, MaxURLLen)
	p.place("", r.Region, r.Country, r.City, r.Position)
	p.text("Pool", r.Pool, 0, MaxNameLen)
	p.count("Capacity.Peers", int64(r.Capacity.Peers), MaxPeers)
	p.atLeast("Capacity.Rate", r.Capacity.Rate, 0)
	p.text("Version", r.Version, 0, MaxNameLen)
	p.features("", r.Features)
	return p.err("registration")
}

// Validate returns nil, or an error that is [ErrInvalid] and names every problem.
func (h Heartbeat) Validate() error {
	var p problems
	p.id("Server", string(h.Server))
	p.atLeast("Incarnation", h.Incarnation, 1)
	p.atLeast("Sequence", h.Sequence, 1)
	p.count("Released", h.Released, MaxReleased)
	p.status(h.Status)
	return p.err("heartbeat")
}

// Validate returns nil, or an error that is [ErrInvalid] and names every problem.
func (s Status) Validate() error {
	var p problems
	p.status(s)
	return p.err("status")
}

// Validate returns nil, or an error that is [ErrInvalid] and names every problem, but of the usages the first only.
func (r UsageReport) Validate() error {
	var p problems
	p.id("Server", string(r.Server))
	p.atLeast("Sequence", r.Sequence, 1)
	if r.From.IsZero() || r.To.IsZero() || r.To.Before(r.From) {
		p.add("To", "%s is not at or after From, %s", r.To.Format(time.RFC3339), r.From.Format(time.RFC3339))
	}
	p.count("Usages", int64(len(r.Usages)), MaxUsages)
	for i, u := range r.Usages {
		before := len(p)
		p.key(fmt.Sprintf("Usages[%d].PublicKey", i), u.PublicKey)
		p.count(fmt.Sprintf("Usages[%d].Download", i), u.Download, MaxUsageBytes)
		p.count(fmt.Sprintf("Usages[%d].Upload", i), u.Upload, MaxUsageBytes)
		if len(p) > before {
			break
		}
	}
	return p.err("usage report")
}

// Validate returns nil, or an error that is [ErrInvalid] and names every problem.
func (s NewSession) Validate() error {
	var p problems
	p.text("User", s.User, 1, MaxKeyLen)
	p.text("IdempotencyKey", s.IdempotencyKey, 1, MaxKeyLen)
	p.key("PublicKey", s.PublicKey)
	p.query("Query.", s.Query)
	if s.Query.SessionKey != "" {
		p.add("Query.SessionKey", "is there: the session's ID is taken, leave it empty")
	}
	switch {
	case len(s.Peer) > MaxPeerLen:
		p.add("Peer", "has %d bytes, more than %d", len(s.Peer), MaxPeerLen)
	case len(s.Peer) > 0 && !json.Valid(s.Peer):
		p.add("Peer", "is not JSON")
	}
	return p.err("session")
}

// WithDefaults returns the query with what it leaves out: the pool, the slack, the freshness and the load.
func (q Query) WithDefaults() Query {
	if q.Pool == "" {
		q.Pool = DefaultPool
	}
	if q.Slack == 0 {
		q.Slack = DefaultSlack
	}
	if q.Freshness == 0 {
		q.Freshness = int(DefaultFreshness / time.Second)
	}
	if q.MaxLoad == 0 {
		q.MaxLoad = DefaultMaxLoad
	}
	return q
}

// Validate returns nil, or an error that is [ErrInvalid] and names every problem.
func (q Query) Validate() error {
	var p problems
	p.query("", q)
	return p.err("query")
}

// Validate returns nil if the ID is a UUID in lower case, else an error that is [ErrInvalid].
func (id ID) Validate() error {
	var p problems
	p.id("server", string(id))
	return p.err("ID")
}

// Validate returns nil if the ID is a UUID in lower case, else an error that is [ErrInvalid].
func (id SessionID) Validate() error {
	var p problems
	p.id("session", string(id))
	return p.err("ID")
}

// problems are what is wrong with an input, each with the field that it is of.
type problems []error

func (p *problems) add(field, format string, args ...any) {
	*p = append(*p, fmt.Errorf(field+": "+format, args...))
}

func (p *problems) err(what string) error {
	if len(*p) == 0 {
		return nil
	}
	return fmt.Errorf("%w %s: %w", ErrInvalid, what, errors.Join(*p...))
}

func (p *problems) name(field, s string) {
	isNot := func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '.' && r != '_' && r != '-'
	}
	if len(s) < 1 || len(s) > MaxNameLen || strings.ContainsFunc(s, isNot) {
		p.add(field, "%.80q is not 1 to %d letters, digits, '.', '_' or '-'", s, MaxNameLen)
	}
}

// text is what people read, and databases keep: no control characters, of which some cannot keep the first.
func (p *problems) text(field, s string, least, most int) {
	switch {
	case len(s) < least && s == "":
		p.add(field, "is empty")
	case len(s) > most:
		p.add(field, "has %d bytes, more than %d", len(s), most)
	case !utf8.ValidString(s):
		p.add(field, "is not UTF-8")
	case strings.ContainsFunc(s, unicode.IsControl):
		p.add(field, "%q has a control character", s)
	}
}

func (p *problems) key(field string, k Key) {
	if k == (Key{}) {
		p.add(field, "is empty: give the WireGuard public key")
	}
}

func (p *problems) id(field, s string) {
	const form = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx"
	ok := len(s) == len(form)
	for i := 0; ok && i < len(form); i++ {
		c := s[i]
		if form[i] == '-' {
			ok = c == '-'
		} else {
			ok = c >= '0' && c <= '9' || c >= 'a' && c <= 'f'
		}
	}
	if !ok {
		p.add(field, "%.80q is not a UUID in lower case", s)
	}
}

func (p *problems) endpoint(field string, e netip.AddrPort, kind string, is func(netip.Addr) bool) {
	switch {
	case e == (netip.AddrPort{}):
	case !e.IsValid() || !is(e.Addr()):
		p.add(field, "%s is not %s and a port", e, kind)
	case e.Port() == 0:
		p.add(field, "%s has no port", e)
	case e.Addr().IsUnspecified() || e.Addr().IsMulticast():
		p.add(field, "%s is no address that a client can reach", e)
	}
}

func (p *problems) apiURL(field, s string) {
	if s == "" {
		return
	}
	u, err := url.Parse(s)
	if len(s) > MaxURLLen || err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" || u.User != nil ||
		strings.TrimSuffix(u.Path, "/") != "" || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" {
		p.add(field, "%.80q is not https://HOST:PORT or http://HOST:PORT of at most %d bytes", s, MaxURLLen)
	}
}

func (p *problems) place(prefix, region, country, city string, position *Position) {
	p.text(prefix+"Region", region, 0, MaxNameLen)
	if len(country) != 0 && (len(country) != 2 || strings.ContainsFunc(country, func(r rune) bool { return r < 'A' || r > 'Z' })) {
		p.add(prefix+"Country", `%.80q is not two capitals, such as "DE" (ISO 3166-1 alpha-2)`, country)
	}
	p.text(prefix+"City", city, 0, MaxNameLen)
	if position != nil {
		p.within(prefix+"Position.Latitude", position.Latitude, -90, 90)
		p.within(prefix+"Position.Longitude", position.Longitude, -180, 180)
	}
}

func (p *problems) count(field string, n, most int64) {
	if n < 0 || n > most {
		p.add(field, "%d is not in the range 0 to %d", n, most)
	}
}

func (p *problems) atLeast(field string, n, least int64) {
	if n < least {
		p.add(field, "%d is below %d", n, least)
	}
}

// within is false of what is not a number, too.
func (p *problems) within(field string, x, least, most float64) {
	if !(x >= least && x <= most) {
		p.add(field, "%g is not in the range %g to %g", x, least, most)
	}
}

func (p *problems) features(prefix string, features []string) {
	p.count(prefix+"Features", int64(len(features)), MaxFeatures)
	for i, f := range features[:min(len(features), MaxFeatures)] {
		p.text(fmt.Sprintf("%sFeatures[%d]", prefix, i), f, 1, MaxNameLen)
	}
}
