package wgnode

import (
	"time"

	"github.com/waylume/waylume/quota"
)

// quietPeers is what was seen of late of the connections of peers of whom nothing is seen. Most of many peers are such, and of all of
// them the same was seen, so that it is kept once. A peer is quiet that nothing was ever seen of: no handshake, no message, no byte
// more than before; peer.watchedSince has when that began. It is at rest when it was there and has left: its connection has what
// lasts.
//
//	quiet --- something is seen ---> in use --- nothing for long ---> at rest
//	                                   ^                                |
//	                                   +------- something is seen ------+
type quietPeers struct{ connection }

// read takes a reading of all peers, for those who are quiet in it. Copies that were made before keep what they have.
func (q *quietPeers) read(now time.Time, device bool) {
	var r recent
	if q.recent != nil {
		r = *q.recent
	}
	q.recent = &r
	q.count(now, quota.Counters{})
	if device {
		q.see(now, PeerStats{})
	}
}

// quiet reports whether that is a peer of whom nothing was ever seen.
func (p *peer) quiet() bool { return p.connection == nil && p.watchedSince != 0 }

// atRest reports whether nothing is seen any more of a peer that was there.
func (p *peer) atRest() bool { return p.connection != nil && p.connection.recent == nil }

// readWithAll reports whether what is read of the peer is kept for all such at once.
func (p *peer) readWithAll() bool { return p.quiet() || p.atRest() }

// watch notes that a quiet peer was read, by the device if that was asked.
func (p *peer) watch(device bool, now time.Time) {
	if device && p.watchedSince == 0 {
		p.watchedSince = instantOf(now)
	}
}

// staysQuiet reports whether a reading shows nothing of the peer that was not known, either.
func (p *peer) staysQuiet(s PeerStats, device bool) bool {
	switch c := p.connection; {
	case s.Counters != p.counters:
		return false
	case c == nil:
		return s.LastHandshake.IsZero() && !s.Endpoint.IsValid() && s.Received == 0 && s.Sent == 0 && !s.FormerKey
	default:
		return c.recent == nil && (!device || c.knows(s))
	}
}

// knows reports whether the device says nothing new.
func (c *connection) knows(s PeerStats) bool {
	return (s.LastHandshake.IsZero() || instantOf(s.LastHandshake) == c.handshake) &&
		(!s.Endpoint.IsValid() || s.Endpoint == c.endpoint) &&
		s.Received == c.received && s.Sent == c.sent && s.FormerKey == c.formerKey
}

// rest gives back what is kept of a connection that is in use, if a reading by the device shows that it is not any more: no handshake
// can be due, and all that was read of late is the same.
func (p *peer) rest(now time.Time, counters quota.Counters) {
	c := p.connection
	if c.handshake != 0 && c.handshake.age(now) <= sessionLife+retryAfter || lately(c.movedAt, now) || lately(c.triedAt, now) {
		return
	}
	if counters == p.counters && c.marks[0].counters == counters && (c.marked() == 1 || c.marks[1].counters == counters) {
		c.recent = nil
	}
}

// seen has a peer be quiet no longer: it gets a connection of its own, with what was seen of it so far.
func (q *quietPeers) seen(p *peer) *connection {
	c := &connection{key: p.key, since: p.watchedSince}
	switch {
	case p.atRest():
		*c = *p.connection
	case !p.quiet():
		return &connection{key: p.key, recent: new(recent)}
	}
	r := *q.recent
	// Marks that are older than the peer are no readings of it.
	if since := c.since.time(); r.marks[1].at.Before(since) {
		r.marks[1] = mark{}
	}
	if since := c.since.time(); r.marks[0].at.Before(since) {
		r.marks[0].at = since
	}
	r.latest.counters, r.marks[0].counters, r.marks[1].counters = p.counters, p.counters, p.counters
	c.recent = &r
	return c
}

// known is the peer's connection as it is now, to read; nil: nothing is known of it.
func (q *quietPeers) known(p *peer) *connection {
	switch c := p.connection; {
	case c != nil && c.key != p.key:
		return nil
	case p.readWithAll():
		return q.seen(p)
	default:
		return c
	}
}

// stateOf is how the peer of a connection is connected.
func (q *quietPeers) stateOf(c *connection, now time.Time, stale time.Duration) ConnectionState {
	if c.recent != nil {
		return c.state(now, stale)
	}
	if s := q.state(now, stale); s != ConnectionNever || c.handshake == 0 {
		return s
	}
	return ConnectionStale
}
