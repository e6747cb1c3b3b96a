package wgnode

import (
	"fmt"
	"time"
)

// ProblemKind says what is wrong with a node. There is at most one problem of each kind at a time.
type ProblemKind int

// The kinds of problems, by area. Those of the dataplane are told by it, see [Stats].Problems; the others the node finds.
const (
	// DataplaneFailing: the dataplane does not answer, or cannot be brought to what it should be. Area: interface.
	DataplaneFailing ProblemKind = iota + 1
	// InterfaceDown: a network interface of the dataplane is gone, replaced or down. Told by the dataplane. Area: interface.
	InterfaceDown
	// InterfaceContested: the dataplane had to be mended 3 times or more, a minute or more apart, with at most 10 minutes
	// between: somebody changes what is the node's. It is over 10 minutes after the last time. Area: interface.
	InterfaceContested
	// HandshakesUnanswered: peers began 3 handshakes or more, none was completed, and no peer has a session: what the node
	// answers does not reach them. It is over when a handshake is completed, or 180 s after the last one that was begun.
	// Area: handshakes.
	HandshakesUnanswered
	// HandshakesCeased: 3 peers or more had sessions at one time and have all lost them, and the node tries in vain to reach
	// some. It began when the last session ended, and is over at the next handshake. Area: handshakes.
	HandshakesCeased
	// ForwardingOff: the system does not forward packets. Told by the dataplane. Area: forwarding.
	ForwardingOff
	// UplinkDown: the interface that peers' packets leave by is missing or down. Told by the dataplane. Area: forwarding.
	UplinkDown
	// FirewallCloses: another firewall drops peers' packets, and the dataplane cannot open it. Told by the dataplane. Area:
	// forwarding.
	FirewallCloses
	// SocketsFail: the system refuses sockets for peers' connections. Told by the dataplane. Area: forwarding.
	SocketsFail
	// StoreFailing: what was to be stored was not, and is tried again. Area: store.
	StoreFailing
	// UsageLogFailing: the usage log is not written; what was used meanwhile counts when it is. Area: usage log.
	UsageLogFailing
	// QuotaEventsLost: data caps that were used up were not told of at once. Told by the dataplane. Area: quota events.
	QuotaEventsLost
	// ClockJumped: the clock was set by more than 5 s while the node ran. It is over an hour after the last time. Area: clock.
	ClockJumped
	// ClockBehind: the clock is before the last time that the store knows of. It is over when the clock has reached that time.
	// Area: clock.
	ClockBehind
	// FormerKeyUnusable: clients may know the node by its former key, and are not served, as that key is not to be had. It is over
	// with the overlap. Area: key.
	FormerKeyUnusable
	// FormerKeyKept: an overlap of the node's keys is over, and the former key is still served, or still on the disk; the node goes
	// on trying. Area: key.
	FormerKeyKept
)

var problemKinds = [...]struct{ name, area string }{
	DataplaneFailing: {"dataplane-failing", "interface"}, InterfaceDown: {"interface-down", "interface"},
	InterfaceContested:   {"interface-contested", "interface"},
	HandshakesUnanswered: {"handshakes-unanswered", "handshakes"}, HandshakesCeased: {"handshakes-ceased", "handshakes"},
	ForwardingOff: {"forwarding-off", "forwarding"}, UplinkDown: {"uplink-down", "forwarding"},
	FirewallCloses: {"firewall-closes", "forwarding"}, SocketsFail: {"sockets-fail", "forwarding"},
	StoreFailing: {"store-failing", "store"}, UsageLogFailing: {"usage-log-failing", "usage log"}, QuotaEventsLost: {"quota-events-lost", "quota events"},
	ClockJumped: {"clock-jumped", "clock"}, ClockBehind: {"clock-behind", "clock"},
	FormerKeyUnusable: {"former-key-unusable", "key"}, FormerKeyKept: {"former-key-kept", "key"},
}

// String is the kind in words joined by hyphens: "forwarding-off".
func (k ProblemKind) String() string {
	if k > 0 && int(k) < len(problemKinds) {
		return problemKinds[k].name
	}
	return fmt.Sprintf("problem-%d", int(k))
}

// Area is "interface", "handshakes", "forwarding", "store", "usage log", "quota events", "clock" or "key"; empty for a kind that there is not.
func (k ProblemKind) Area() string {
	if k > 0 && int(k) < len(problemKinds) {
		return problemKinds[k].area
	}
	return ""
}

// MarshalText is String.
func (k ProblemKind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// HealthProblem is something that is wrong with a node.
type HealthProblem struct {
	Kind ProblemKind
	// What is wrong and what to do about it, in words. It may change while the problem lasts.
	What string
	// Since is when it began, as far as is known: when it was first seen, unless the kind says otherwise.
	Since time.Time
}

// String is one line: "forwarding: IPv4 is not forwarded ... (since 2006-01-02T15:04:05Z)".
func (p HealthProblem) String() string {
	return fmt.Sprintf("%s: %s (since %s)", p.Kind.Area(), p.What, p.Since.Format(time.RFC3339))
}
