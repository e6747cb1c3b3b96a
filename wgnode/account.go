package wgnode

import (
	"maps"
	"time"

	"github.com/waylume/waylume/quota"
	"github.com/waylume/waylume/shaping"
)

// AccountSpec says what an account shall be: a customer, whose peers share one limit and one cap.
type AccountSpec struct {
	// ID names the account: 1 to MaxNameLen bytes of UTF-8 without control characters.
	ID string
	// Labels are for the embedder to keep with the account; the policy matches accounts by ID. Bounds as for a peer's.
	Labels map[string]string
	// SpeedLimit is what the account's peers have together; zero: unlimited but for their own and the node's.
	SpeedLimit shaping.Limit
	// DataCap is what the account's peers use together; zero: none.
	DataCap quota.Cap
}

// Account is an account as it is. It is a copy: changing it changes nothing.
type Account struct {
	// Sequence orders accounts, and peers, by when they were added; it is never used again.
	Sequence   uint64
	ID         string
	Labels     map[string]string
	SpeedLimit shaping.Limit
	DataCap    quota.Cap
	// Peers is the number of the account's peers.
	Peers int
	// Suspended: nothing of the account's peers passes, until [Node.Resume] is called for it.
	Suspended bool
	CreatedAt time.Time
}

// account is an account as the node holds it. What it points to is never changed, only replaced, but for the ledger and
// its peers.
type account struct {
	core
	id    string
	peers *ordered[*peer]
}

var _ entity = (*account)(nil)

func (a *account) common() *core { return &a.core }

func (a *account) subject() Subject { return OfAccount(a.id) }

func (a *account) clone() entity {
	b := *a
	b.core = a.core.clone()
	return &b
}

func (a *account) assign(from entity) { *a = *from.(*account) }

func (a *account) view() Account {
	return Account{
		Sequence:   a.sequence,
		ID:         a.id,
		Labels:     maps.Clone(a.labels),
		SpeedLimit: a.speedLimit,
		DataCap:    a.ledger.Cap(),
		Peers:      a.peers.len(),
		Suspended:  a.suspended,
		CreatedAt:  a.createdAt.time(),
	}
}

func (a *account) state() AccountState {
	return AccountState{
		ID:         a.id,
		SpeedLimit: a.speedLimit,
		Budget:     a.ledger.Budget(),
		Throttle:   throttleOf(a.ledger.Cap()),
		Counters:   a.counters,
	}
}

func (a *account) addTo(change *Change) { change.SetAccounts = append(change.SetAccounts, a.state()) }

func (a *account) matches(spec AccountSpec) bool {
	return maps.Equal(a.labels, spec.Labels) && a.speedLimit == spec.SpeedLimit && a.ledger.Cap().Equal(spec.DataCap)
}
