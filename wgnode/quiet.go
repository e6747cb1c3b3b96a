package wgnode

import (
	"time"

	"github.com/waylume/waylume/quota"
)

// quietPeers is what was seen of the connections of peers that nothing was ever seen of: no handshake, no message, no byte more than
// before. Most of many peers are such, and of all of them the same was seen, but for when it began, which [peer].watchedSince has.
type quietPeers struct{ connection }

// read takes a reading of all peers, for those who are quiet in it.
func (q *quietPeers) read(now time.Time, device bool) {
	q.count(now, quota.Counters{})
	if device {
		q.see(now, PeerStats{})
	}
}

// quiet reports whether that is a peer of whom nothing was ever seen.
func (p *peer) quiet() bool { return p.connection == nil && p.watchedSince != 0 }

// watch notes that a quiet peer was read, by the device if that was asked.
func (p *peer) watch(device bool, now time.Time) {
	if device && p.watchedSince == 0 {
		p.watchedSince = now.UnixNano()
	}
}

// staysQuiet reports whether a reading shows nothing of the peer, either.
func (p *peer) staysQuiet(s PeerStats) bool {
	return s.Counters == p.counters && s.LastHandshake.IsZero() && !s.Endpoint.IsValid() && s.Received == 0 && s.Sent == 0 && !s.FormerKey
}

// seen has a peer be quiet no longer: it gets a connection of its own, with what was seen of it so far.
func (q *quietPeers) seen(p *peer) *connection {
	c := &connection{key: p.key}
	if !p.quiet() {
		return c
	}
	*c = q.connection
	c.key, c.since = p.key, time.Unix(0, p.watchedSince)
	// Marks that are older than the peer are no readings of it.
	if c.marks[1].at.Before(c.since) {
		c.marks[1] = mark{}
	}
	if c.marks[0].at.Before(c.since) {
		c.marks[0].at = c.since
	}
	c.latest.counters, c.marks[0].counters, c.marks[1].counters = p.counters, p.counters, p.counters
	return c
}

// known is the peer's connection as it is now, to read; nil: nothing is known of it.
func (q *quietPeers) known(p *peer) *connection {
	switch c := p.connection; {
	case p.quiet():
		return q.seen(p)
	case c != nil && c.key == p.key:
		return c
	}
	return nil
}
