package wgnode

import (
	"net/netip"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/quota"
)

// connection is what was seen of a peer's connection since the node was started: 128 bytes at rest.
type connection struct {
	key wgtypes.Key // another key is another connection

	since     instant // when the device was first asked
	handshake instant
	endpoint  netip.AddrPort
	changedAt instant
	changes   uint32
	formerKey bool // which the handshake was with
	// received and sent are outer bytes.
	received, sent uint64
	loss           HandshakeLoss

	*recent // nil at rest, see quietPeers
}

// recent is what was seen of late of a connection that is in use. Times bear the monotonic clock.
type recent struct {
	// readAt is when the device was last asked.
	readAt time.Time
	// triedAt is when a side was last seen to try in vain.
	triedAt time.Time

	// marks are readings of the counters a window apart, the older one first, and latest the last one; not valid while at is
	// zero.
	marks  [2]mark
	latest mark
	// movedAt is when a counter was last seen to have moved on.
	movedAt time.Time

	// dueAt is when data was seen to come over a session that is older than rekeyAfter, so that a handshake was due; zero: it
	// is not. dueGap is how much earlier that may have been.
	dueAt  time.Time
	dueGap time.Duration
}

// lately reports whether that was a moment ago.
func lately(t, now time.Time) bool { return !t.IsZero() && now.Sub(t) <= activeWindow }

// session reports whether there is one.
func (c *connection) session(now time.Time) bool {
	return c.handshake != 0 && c.handshake.age(now) < sessionLife
}

func (c *connection) state(now time.Time, stale time.Duration) ConnectionState {
	switch {
	case c.recent == nil || c.readAt.IsZero() || now.Sub(c.readAt) >= stale:
		return ConnectionUnknown
	case c.session(now) && lately(c.movedAt, now):
		return ConnectionOnline
	case c.session(now):
		return ConnectionIdle
	case lately(c.triedAt, now):
		return ConnectionUnreachable
	case c.handshake == 0:
		return ConnectionNever
	}
	return ConnectionStale
}

// count takes a reading of the counters.
func (c *connection) count(now time.Time, counters quota.Counters) {
	before := c.latest
	c.latest = mark{now, counters}
	switch {
	case before.at.IsZero() || counters.Download < before.counters.Download || counters.Upload < before.counters.Upload:
		c.marks = [2]mark{c.latest} // the first one, or counters that began anew
		return
	case counters != before.counters:
		c.movedAt = now
	}
	if newest := max(0, c.marked()-1); now.Sub(c.marks[newest].at) >= throughputWindow {
		if c.marked() == len(c.marks) {
			c.marks[0] = c.marks[1]
		}
		c.marks[1] = c.latest
	}
	c.expect(now, before)
}

// marked is how many marks there are.
func (c *connection) marked() int {
	if c.marks[1].at.IsZero() {
		return 1
	}
	return 2
}

func (c *connection) throughput() Throughput {
	if c.latest.at.Sub(c.marks[0].at) < throughputWindow {
		return Throughput{}
	}
	return c.marks[0].between(c.latest)
}

// expect notes that a handshake was due, if the reading before and this one show it.
func (c *connection) expect(now time.Time, before mark) {
	if !c.dueAt.IsZero() || c.handshake == 0 || c.latest.counters.Upload == before.counters.Upload {
		return
	}
	// Between the two readings data came; even at the first of them the session was too old for it.
	gap := now.Sub(before.at)
	if age := c.handshake.age(before.at); age >= rekeyAfter && age < sessionLife && gap < retryAfter {
		c.dueAt, c.dueGap = now, gap
	}
}

// see takes what the device says of the peer. It returns how many handshakes were seen to be begun by the peer, and by the node,
// while there was no session.
func (c *connection) see(now time.Time, s PeerStats) (peers, nodes uint64) {
	handshake := instantOf(s.LastHandshake)
	switch {
	case c.readAt.IsZero():
		c.since, c.handshake = instantOf(now), handshake
	case handshake == 0 || handshake == c.handshake:
		if !c.session(c.readAt) && !c.session(now) {
			peers, nodes = c.attempts(s)
		}
	default:
		c.judge(now, handshake)
		c.handshake = handshake
	}
	if peers+nodes > 0 {
		c.triedAt = now
	}
	if peers > 0 {
		c.loss.add(int64(peers), int64(peers))
	}
	if s.Endpoint.IsValid() && s.Endpoint != c.endpoint {
		if c.endpoint.IsValid() {
			c.changes++
			c.changedAt = instantOf(now)
		}
		c.endpoint = s.Endpoint
	}
	c.received, c.sent, c.formerKey, c.readAt = s.Received, s.Sent, s.FormerKey, now
	return peers, nodes
}

// attempts tells from outer bytes how many handshakes were begun since the last reading. Without a session nothing else comes
// and goes: the node answers each of the peer's, and the rest that it sends are its own.
func (c *connection) attempts(s PeerStats) (peers, nodes uint64) {
	if s.Received < c.received || s.Sent < c.sent {
		return 0, 0 // the device began anew
	}
	peers = (s.Received - c.received) / initiationSize
	if sent, answers := s.Sent-c.sent, peers*responseSize; sent > answers {
		nodes = (sent - answers) / initiationSize
	}
	return peers, nodes
}

// judge counts a handshake that was due, and those that failed before it. After the end of a session nobody knows whether the
// peer tried.
func (c *connection) judge(now time.Time, handshake instant) {
	due := c.dueAt
	c.dueAt = time.Time{}
	if due.IsZero() || handshake.since(c.handshake) > sessionLife+retryAfter {
		return
	}
	age := max(handshake.age(now), 0)
	failed := min(max(int64((now.Sub(due)-age+c.dueGap)/retryAfter), 0), maxRetries)
	c.loss.add(failed+1, failed)
}
