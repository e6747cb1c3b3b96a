package v1

import (
	"net/netip"
	"time"
)

// Node is the node at one moment.
type Node struct {
	Version        string            `json:"version,omitempty"`
	State          string            `json:"state" enum:"idle,starting,running,closing,closed"`
	Draining       bool              `json:"draining" doc:"New peers are refused."`
	Since          time.Time         `json:"since,omitzero" doc:"When it was started."`
	PublicKey      Key               `json:"public_key,omitzero"`
	FormerKey      Key               `json:"former_key,omitzero" doc:"The public key that clients may know the node by besides."`
	OverlapEnds    time.Time         `json:"overlap_ends,omitzero" doc:"Until when they may."`
	FormerKeyPeers int               `json:"former_key_peers,omitzero" doc:"How many peers' last handshake was with former_key."`
	ListenPort     uint16            `json:"listen_port,omitzero"`
	Addresses      []netip.Prefix    `json:"addresses" nullable:"false" doc:"The node's own in the tunnel."`
	Dataplane      string            `json:"dataplane,omitempty"`
	Limitations    []string          `json:"limitations" nullable:"false" doc:"What this system keeps the dataplane from doing."`
	Peers          int               `json:"peers"`
	Accounts       int               `json:"accounts"`
	Pool           []Pool            `json:"pool" nullable:"false" doc:"By family."`
	Dropped        map[string]uint64 `json:"dropped,omitempty" doc:"Packets that did not pass since the start, by reason."`
	Problems       []NodeProblem     `json:"problems" nullable:"false" doc:"What is wrong; empty when all is well."`
	SyncedAt       time.Time         `json:"synced_at,omitzero" doc:"When the dataplane was last found to be what it should."`
}

// Pool counts the addresses of one family.
type Pool struct {
	Family      string `json:"family"`
	Capacity    uint64 `json:"capacity"`
	Leased      uint64 `json:"leased"`
	Quarantined uint64 `json:"quarantined"`
	Free        uint64 `json:"free"`
}

// NodeProblem is something that is wrong with the node.
type NodeProblem struct {
	Kind  string    `json:"kind"`
	Area  string    `json:"area"`
	What  string    `json:"what" doc:"What is wrong and what to do about it."`
	Since time.Time `json:"since,omitzero"`
}

// Repairs are what a sync had to mend.
type Repairs struct {
	Repairs []Repair `json:"repairs" nullable:"false"`
}

// Repair is one thing that was mended.
type Repair struct {
	What    string `json:"what"`
	Subject string `json:"subject,omitempty" doc:"A peer's public key or an account's id; left out for the node."`
}

// UsageReport is what was used in a span of time.
type UsageReport struct {
	Span   Span         `json:"span" doc:"What the sums really cover: from one reading of all counters to another."`
	Usages []SpentUsage `json:"usages,omitempty" nullable:"false" doc:"Who used anything; without step."`
	Steps  []UsageStep  `json:"steps,omitempty" nullable:"false" doc:"What one peer or account used, step by step; with step."`
	Next   string       `json:"next,omitempty" doc:"Give it as cursor for the next page; left out: this is the last."`
	Damage []string     `json:"damage,omitempty" nullable:"false" doc:"What could not be read of the log; what it held counts later."`
}

// Span is a time; one that is left out covers nothing.
type Span struct {
	From time.Time `json:"from,omitzero"`
	To   time.Time `json:"to,omitzero"`
}

// SpentUsage is what one peer or account used. It may have been removed since.
type SpentUsage struct {
	Peer     Key    `json:"peer,omitzero"`
	Account  string `json:"account,omitempty"`
	Sequence uint64 `json:"sequence" doc:"The same for a peer under each of its keys."`
	Span     Span   `json:"span"`
	Download Bytes  `json:"download" doc:"Towards the peer."`
	Upload   Bytes  `json:"upload" doc:"From the peer."`
}

// UsageStep is one step of a series.
type UsageStep struct {
	Span     Span  `json:"span" doc:"It may be nothing; then what was used counts in a later step."`
	Download Bytes `json:"download" doc:"Towards the peer."`
	Upload   Bytes `json:"upload" doc:"From the peer."`
}

// Health is the answer of /livez and /readyz.
type Health struct {
	Status string  `json:"status" enum:"ok,failing"`
	Checks []Check `json:"checks,omitempty" nullable:"false"`
}

// Check is one thing that was looked at.
type Check struct {
	Name   string `json:"name" example:"node"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail,omitempty" doc:"What is wrong."`
}
