package wgnode

import (
	"fmt"
	"strings"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/quota"
)

// EventKind says what an [Event] reports.
type EventKind int

// The kinds of events. Each says which fields of [Event] it sets besides Sequence, Time and Kind.
const (
	// Missed stands where a slow reader lost events: Count of them came between the event before and the event after.
	Missed EventKind = iota + 1
	// NodeStarted: peers can connect.
	NodeStarted
	// NodeClosed is the last event. Err says why, when the node closed itself.
	NodeClosed
	// NodeChanged: the node's speed limit or its policy was set. Detail says which.
	NodeChanged
	// NodeRekeyed: the node has another key. It sets NodeKey and FormerNodeKey, which are public keys, and OverlapEnds when clients
	// may know the node by the former one until then.
	NodeRekeyed
	// PeerAdded sets Peer and Account.
	PeerAdded
	// PeerChanged sets Peer, Account, and Detail with what was changed: "speed limit", "data cap", "top-up", "usage reset",
	// "expiry", "grace period", "idle timeout", "preshared key", or "clock set back before expiry".
	PeerChanged
	// PeerRemoved sets Peer, Account, Reason, and Counters with what the peer moved in its life.
	PeerRemoved
	// PeerSuspended sets Peer.
	PeerSuspended
	// PeerResumed sets Peer.
	PeerResumed
	// PeerExpired: the peer's ExpiresAt came, and its grace period runs, at the end of which it is removed. It sets Peer and
	// Account.
	PeerExpired
	// PeerRekeyed sets Peer with the new key, FormerPeer with the one before, and Account.
	PeerRekeyed
	// PeerMoved sets Peer, Account, and FormerAccount, which are empty for no account.
	PeerMoved
	// AccountAdded sets Account.
	AccountAdded
	// AccountChanged sets Account and Detail.
	AccountChanged
	// AccountRemoved sets Account and Counters.
	AccountRemoved
	// AccountSuspended sets Account. There is no event for each of its peers, nor with AccountResumed.
	AccountSuspended
	// AccountResumed sets Account.
	AccountResumed
	// UsageThreshold: a subject used Percent of its data cap. It sets Peer or Account, Percent and Usage.
	UsageThreshold
	// CapReached: a subject's data cap is used up, and is now blocking or throttling. It sets Peer or Account, and Usage.
	CapReached
	// PeriodStarted: a new period of a data cap began. It sets Peer or Account, Usage and Ended.
	PeriodStarted
	// Repaired: the dataplane differed from what it should be and was mended. It sets Detail, and Peer or Account when
	// the repair concerned one.
	Repaired
	// SyncFailed: the dataplane could not be brought to what it should be; the node goes on trying. It sets Err. It is
	// reported once until a sync succeeds again.
	SyncFailed
	// CheckpointFailed: usage could not be written to the store; the node goes on trying. It sets Err. It is reported
	// once until a checkpoint succeeds again.
	CheckpointFailed
	// ProblemBegan: something is wrong with the node. It sets Problem.
	ProblemBegan
	// ProblemOver: a problem is no more. It sets Problem, as it was.
	ProblemOver
	// UsageLogFailed: the usage log could not be written to, or does not answer; the node goes on trying, and what was used
	// meanwhile counts when it works again. It sets Err. It is reported once until the log works again.
	UsageLogFailed
	// KeyOverlapEnded: clients that know the node by its former key cannot connect any more. It sets NodeKey and FormerNodeKey.
	KeyOverlapEnded
)

var eventNames = [...]string{
	Missed: "missed", NodeStarted: "node-started", NodeClosed: "node-closed", NodeChanged: "node-changed", NodeRekeyed: "node-rekeyed",
	PeerAdded: "peer-added", PeerChanged: "peer-changed", PeerRemoved: "peer-removed",
	PeerSuspended: "peer-suspended", PeerResumed: "peer-resumed", PeerExpired: "peer-expired",
	PeerRekeyed: "peer-rekeyed", PeerMoved: "peer-moved",
	AccountAdded: "account-added", AccountChanged: "account-changed", AccountRemoved: "account-removed",
	AccountSuspended: "account-suspended", AccountResumed: "account-resumed",
	UsageThreshold: "usage-threshold", CapReached: "cap-reached", PeriodStarted: "period-started",
	Repaired: "repaired", SyncFailed: "sync-failed", CheckpointFailed: "checkpoint-failed",
	ProblemBegan: "problem-began", ProblemOver: "problem-over",
	UsageLogFailed: "usage-log-failed", KeyOverlapEnded: "key-overlap-ended",
}

// String is the kind in words joined by hyphens: "peer-added".
func (k EventKind) String() string {
	if k > 0 && int(k) < len(eventNames) {
		return eventNames[k]
	}
	return fmt.Sprintf("event-%d", int(k))
}

// MarshalText is String.
func (k EventKind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// RemovalReason says why a peer was removed.
type RemovalReason int

const (
	// RemovalRequested: RemovePeer was called.
	RemovalRequested RemovalReason = iota + 1
	// RemovalExpired: the peer's ExpiresAt came, and its grace period is past.
	RemovalExpired
	// RemovalIdle: the peer had shaken no hands for its IdleTimeout.
	RemovalIdle
)

// String is "requested", "expired" or "idle".
func (r RemovalReason) String() string {
	switch r {
	case RemovalRequested:
		return "requested"
	case RemovalExpired:
		return "expired"
	case RemovalIdle:
		return "idle"
	default:
		return fmt.Sprintf("reason-%d", int(r))
	}
}

// MarshalText is String.
func (r RemovalReason) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// Event is something that happened to a node. Fields that the kind does not set are zero.
type Event struct {
	// Sequence counts the node's events from 1, without gaps; that of a [Missed] event is the last one missed.
	Sequence uint64
	Time     time.Time
	Kind     EventKind
	Peer     wgtypes.Key
	Account  string
	// FormerPeer and FormerAccount are what Peer and Account were before.
	FormerPeer    wgtypes.Key
	FormerAccount string
	// NodeKey and FormerNodeKey are the node's public key and what it was before.
	NodeKey, FormerNodeKey wgtypes.Key
	// OverlapEnds is until when clients may know the node by FormerNodeKey.
	OverlapEnds time.Time
	Reason      RemovalReason
	// Percent of the cap, 1 to 100.
	Percent int
	// Usage is the subject's usage when the event was found; for PeriodStarted, in the new period.
	Usage quota.Usage
	// Ended is the usage of the period that ended.
	Ended quota.Usage
	// Counters are inner IP bytes since the subject was added.
	Counters quota.Counters
	// Detail says more, in words.
	Detail string
	Err    error
	// Problem is what is or was wrong.
	Problem HealthProblem
	// Count is the number of events missed.
	Count uint64
}

// String is one line for a log or a terminal.
func (e Event) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d %s %s", e.Sequence, e.Time.Format(time.RFC3339), e.Kind)
	if e.Peer != (wgtypes.Key{}) {
		fmt.Fprintf(&b, " peer=%s", e.Peer)
	}
	if e.Account != "" {
		fmt.Fprintf(&b, " account=%q", e.Account)
	}
	if e.FormerPeer != (wgtypes.Key{}) {
		fmt.Fprintf(&b, " former_peer=%s", e.FormerPeer)
	}
	if e.FormerAccount != "" {
		fmt.Fprintf(&b, " former_account=%q", e.FormerAccount)
	}
	if e.NodeKey != (wgtypes.Key{}) {
		fmt.Fprintf(&b, " node_key=%s former_node_key=%s", e.NodeKey, e.FormerNodeKey)
	}
	if !e.OverlapEnds.IsZero() {
		fmt.Fprintf(&b, " overlap_ends=%s", e.OverlapEnds.Format(time.RFC3339))
	}
	if e.Reason != 0 {
		fmt.Fprintf(&b, " reason=%s", e.Reason)
	}
	if e.Percent != 0 {
		fmt.Fprintf(&b, " percent=%d", e.Percent)
	}
	if e.Detail != "" {
		fmt.Fprintf(&b, " detail=%q", e.Detail)
	}
	if e.Err != nil {
		fmt.Fprintf(&b, " error=%q", e.Err.Error())
	}
	if e.Problem.Kind != 0 {
		fmt.Fprintf(&b, " problem=%s since=%s what=%q", e.Problem.Kind, e.Problem.Since.Format(time.RFC3339), e.Problem.What)
	}
	if e.Count != 0 {
		fmt.Fprintf(&b, " count=%d", e.Count)
	}
	return b.String()
}

// of sets the event's subject.
func (e Event) of(s Subject) Event {
	e.Peer, e.Account = s.peer, s.account
	return e
}
