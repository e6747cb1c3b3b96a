package eventstream

import (
	"strings"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/quota"
	"github.com/waylume/waylume/wgnode"
)

// Kind says what an [Event] reports: a kind of wgnode's in snake_case, such as "peer_added", or [End].
type Kind string

// Kinds that are about the stream. A client that does not know a kind ignores the event: there may be new ones.
const (
	// Missed: events came that this stream cannot give. Count is their number, of all kinds; 0: unknown. Reason says why.
	Missed Kind = "missed"
	// End is the last event of a stream. Reason says why.
	End Kind = "end"
)

// Reasons of [Missed] and [End].
const (
	FellBehind    = "fell_behind"    // the reader, by more than the node keeps
	OtherBoot     = "other_boot"     // the last event id is not one of this run of the program
	NodeClosed    = "node_closed"    // there is no node any more
	ServerClosing = "server_closing" // connect again
	Renewed       = "renewed"        // who may read has changed: connect again, and say anew who you are
)

// kindOf is a kind of wgnode's as this package has it.
func kindOf(k wgnode.EventKind) Kind { return Kind(snake(k.String())) }

func snake(s string) string { return strings.ReplaceAll(s, "-", "_") }

// Kinds are all kinds that events can be chosen by.
func Kinds() []Kind {
	var all []Kind
	for k := wgnode.Missed + 1; !strings.HasPrefix(k.String(), "event-"); k++ {
		all = append(all, kindOf(k))
	}
	return all
}

// Event is something that happened to a node. Fields that a kind does not set are absent; wgnode.EventKind says which it sets.
// Keys are in base64, times in RFC 3339 and UTC. Fields may be added.
type Event struct {
	// ID is the event's place, for Last-Event-ID: of the field id, not of the JSON.
	ID   string `json:"-"`
	Kind Kind   `json:"kind" doc:"What happened, in snake_case."`
	// Boot names the run of the program, within which Sequence counts.
	Boot string `json:"boot" doc:"The run of the program that sequence counts in."`
	// Sequence counts the node's events from 1, without gaps; 0 for [End], and for [Missed] of another boot.
	Sequence      uint64     `json:"sequence,omitzero" doc:"Counts the events of a boot from 1, without gaps."`
	Time          time.Time  `json:"time" doc:"When it happened."`
	Peer          string     `json:"peer,omitzero" doc:"The peer's public key."`
	Account       string     `json:"account,omitzero" doc:"The account's ID."`
	FormerPeer    string     `json:"former_peer,omitzero" doc:"The public key that the peer had before."`
	FormerAccount string     `json:"former_account,omitzero" doc:"The account that the peer was of before."`
	NodeKey       string     `json:"node_key,omitzero" doc:"The node's public key."`
	FormerNodeKey string     `json:"former_node_key,omitzero" doc:"The public key that the node had before."`
	OverlapEnds   time.Time  `json:"overlap_ends,omitzero" doc:"Until when clients may know the node by former_node_key."`
	Reason        string     `json:"reason,omitzero" doc:"Why, in snake_case."`
	Percent       int        `json:"percent,omitzero" doc:"Of the data cap, 1 to 100."`
	Usage         *Usage     `json:"usage,omitempty" doc:"What the peer or the account has used of its data cap."`
	Ended         *Usage     `json:"ended,omitempty" doc:"The same, of the period that ended."`
	Transferred   *Transfer  `json:"transferred,omitempty" doc:"What the peer or the account moved since it was added."`
	Detail        string     `json:"detail,omitzero" doc:"More, in words."`
	Error         string     `json:"error,omitzero" doc:"What failed, in words."`
	Problem       *Condition `json:"problem,omitempty" doc:"What is or was wrong with the node."`
	Count         uint64     `json:"count,omitzero" doc:"How many events were missed; absent: unknown."`
}

// Usage is what was used of a data cap, in bytes.
type Usage struct {
	Used        uint64    `json:"used_bytes"`
	Limit       uint64    `json:"limit_bytes,omitzero" doc:"Absent: no cap."`
	Remaining   uint64    `json:"remaining_bytes,omitzero"`
	Depleted    bool      `json:"depleted,omitzero"`
	PeriodStart time.Time `json:"period_start,omitzero"`
	PeriodEnd   time.Time `json:"period_end,omitzero"`
}

// Transfer is inner IP bytes; download is towards the peer.
type Transfer struct {
	Download uint64 `json:"download_bytes"`
	Upload   uint64 `json:"upload_bytes"`
}

// Condition is something that is wrong with a node.
type Condition struct {
	Kind  string    `json:"kind" doc:"In snake_case, such as forwarding_off."`
	Area  string    `json:"area" doc:"In snake_case, such as usage_log."`
	What  string    `json:"what" doc:"What is wrong and what to do about it, in words."`
	Since time.Time `json:"since"`
}

func eventOf(e wgnode.Event, boot string) Event {
	out := Event{
		Kind: kindOf(e.Kind), Boot: boot, Sequence: e.Sequence, Time: e.Time.UTC(), Peer: keyOf(e.Peer), Account: e.Account,
		FormerPeer: keyOf(e.FormerPeer), FormerAccount: e.FormerAccount,
		NodeKey: keyOf(e.NodeKey), FormerNodeKey: keyOf(e.FormerNodeKey), OverlapEnds: utc(e.OverlapEnds),
		Percent: e.Percent, Usage: usageOf(e.Usage), Ended: usageOf(e.Ended), Detail: e.Detail, Count: e.Count,
	}
	switch {
	case e.Reason != 0:
		out.Reason = snake(e.Reason.String())
	case e.Kind == wgnode.Missed:
		out.Reason = FellBehind
	}
	if e.Counters != (quota.Counters{}) || e.Kind == wgnode.PeerRemoved || e.Kind == wgnode.AccountRemoved {
		out.Transferred = &Transfer{Download: e.Counters.Download, Upload: e.Counters.Upload}
	}
	if e.Err != nil {
		out.Error = e.Err.Error()
	}
	if p := e.Problem; p.Kind != 0 {
		out.Problem = &Condition{
			Kind: snake(p.Kind.String()), Area: strings.ReplaceAll(p.Kind.Area(), " ", "_"), What: p.What, Since: p.Since.UTC(),
		}
	}
	return out
}

func keyOf(k wgtypes.Key) string {
	if k == (wgtypes.Key{}) {
		return ""
	}
	return k.String()
}

func usageOf(u quota.Usage) *Usage {
	if u == (quota.Usage{}) {
		return nil
	}
	return &Usage{
		Used: uint64(u.Used), Limit: uint64(u.Limit), Remaining: uint64(u.Remaining), Depleted: u.Depleted,
		PeriodStart: utc(u.PeriodStart), PeriodEnd: utc(u.PeriodEnd),
	}
}

// utc keeps a time that is not set what it is.
func utc(t time.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return t.UTC()
}
