package wgnode

import (
	"maps"
	"net/netip"
	"slices"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/quota"
	"github.com/waylume/waylume/shaping"
)

// PeerSpec says what a peer shall be. The zero value is a peer with a generated key, leased addresses and no limit.
type PeerSpec struct {
	// PublicKey is the peer's WireGuard public key. Zero: the node makes a key pair and hands the private key out once.
	// Points of low order (RFC 7748, section 6.1), with which no secret can be agreed, are refused.
	PublicKey wgtypes.Key
	// PresharedKey is mixed into the handshake; zero: none.
	PresharedKey wgtypes.Key
	// Name is for people: at most MaxNameLen bytes of UTF-8 without control characters.
	Name string
	// Addrs are the tunnel addresses asked for, at most one of each family, inside the node's pool. A family of the pool
	// that is not asked for gets a leased address.
	Addrs []netip.Addr
	// Account is the ID of an account that exists, whose limit and cap the peer shares; empty: none.
	Account string
	// Labels are for the policy's rules to match: at most MaxLabels, with keys of 1 to MaxLabelKeyLen bytes and values of
	// at most MaxLabelValueLen, UTF-8 without control characters.
	Labels map[string]string
	// SpeedLimit is the peer's own; zero: unlimited but for the account's and the node's.
	SpeedLimit shaping.Limit
	// DataCap is the peer's own; zero: none but for the account's.
	DataCap quota.Cap
	// ExpiresAt is when the peer's time is over; zero: never. Nothing of it passes any more from then on, and when the grace
	// period is past, too, the node removes it.
	ExpiresAt time.Time
	// GracePeriod is how long a peer is kept after ExpiresAt, with its addresses and its usage, so that [Node.SetExpiry] can
	// bring it back; at most MaxGracePeriod. It is also what saves a peer from a clock that is set too far ahead for a
	// while. 0: it is removed at ExpiresAt.
	GracePeriod time.Duration
	// IdleTimeout removes a peer that has shaken no hands for that long, MinIdleTimeout to MaxIdleTimeout; 0: never. It
	// counts from the last handshake, and not from before the peer was added, resumed or given another key. Only time counts
	// in which the node ran and the peer could have connected; a clock that is set does not matter.
	IdleTimeout time.Duration
}

// Bounds of a peer's times.
const (
	// MaxGracePeriod is ten years.
	MaxGracePeriod = 3650 * 24 * time.Hour
	// MinIdleTimeout is more than the 270 s for which two hosts that do exchange data may go without completing a handshake
	// (WireGuard paper, section 6.1: Reject-After-Time and Rekey-Attempt-Time).
	MinIdleTimeout = 5 * time.Minute
	// MaxIdleTimeout is ten years.
	MaxIdleTimeout = 3650 * 24 * time.Hour
)

// Bounds of names and labels, in bytes, and of the number of labels.
const (
	MaxNameLen       = 128
	MaxLabels        = 32
	MaxLabelKeyLen   = 64
	MaxLabelValueLen = 256
)

// AddedPeer is what AddPeer made.
type AddedPeer struct {
	Peer
	// PrivateKey is set when the node made the key pair. The node does not keep it.
	PrivateKey wgtypes.Key
	// Created is false when the peer was there already, with the same specification.
	Created bool
}

// Peer is a peer as it is. It is a copy: changing it changes nothing.
type Peer struct {
	// Sequence orders peers by when they were added; it is never used again.
	Sequence  uint64
	PublicKey wgtypes.Key
	// HasPresharedKey reports a preshared key, which only [Node.ClientConfig] shows.
	HasPresharedKey bool
	Name            string
	// Addrs are the tunnel addresses, IPv4 before IPv6.
	Addrs      []netip.Addr
	Account    string
	Labels     map[string]string
	SpeedLimit shaping.Limit
	DataCap    quota.Cap
	CreatedAt  time.Time
	// ExpiresAt is zero for a peer that stays.
	ExpiresAt   time.Time
	GracePeriod time.Duration
	IdleTimeout time.Duration

	// Why nothing of the peer passes, if so; see Active. Suspended: [Node.Suspend] was called for it. AccountSuspended: for its
	// account. Expired: ExpiresAt has come, and the grace period runs.
	Suspended, AccountSuspended, Expired bool
}

// Active reports whether the peer can connect. One that is not keeps its addresses, its usage and the periods of its data
// cap, and the dataplane knows nothing of it.
func (p Peer) Active() bool { return !p.Suspended && !p.AccountSuspended && !p.Expired }

// ListOptions choose a part of a list.
type ListOptions struct {
	// Account keeps only this account's peers; empty: all. [Node.Accounts] ignores it.
	Account string
	// After is the Sequence of the last entry seen, which may be gone by now; 0 starts at the beginning.
	After uint64
	// Limit is the largest number of entries; 0: all.
	Limit int
}

// peer is a peer as the node holds it. What it points to is never changed, only replaced, but for the ledger.
type peer struct {
	core
	key          wgtypes.Key
	presharedKey *wgtypes.Key // nil: none
	name         string
	addrs        []netip.Addr
	account      string
	// formerKey is the key that the peer had before it was given this one; nil: none.
	formerKey *wgtypes.Key
	// connection is what was seen of the peer's; nil while nothing was, see quiet. Clones share it.
	connection *connection
	// watchedSince is when the device was first asked about a peer that was quiet then; 0: it was not.
	watchedSince instant
}

var _ entity = (*peer)(nil)

func (p *peer) common() *core { return &p.core }

func (p *peer) subject() Subject { return OfPeer(p.key) }

// Key is for the table of peers.
func (p *peer) Key() wgtypes.Key { return p.key }

func (p *peer) clone() entity {
	q := *p
	q.core = p.core.clone()
	return &q
}

func (p *peer) assign(from entity) { *p = *from.(*peer) }

func (p *peer) view() Peer {
	return Peer{
		Sequence:        p.sequence,
		PublicKey:       p.key,
		HasPresharedKey: p.presharedKey != nil,
		Name:            p.name,
		Addrs:           slices.Clone(p.addrs),
		Account:         p.account,
		Labels:          maps.Clone(p.labels),
		SpeedLimit:      p.speedLimit,
		DataCap:         p.ledger.Cap(),
		CreatedAt:       p.createdAt.time(),
		ExpiresAt:       p.expiresAt(),
		GracePeriod:     p.gracePeriod(),
		IdleTimeout:     p.idleTimeout,

		Suspended:        p.suspended,
		AccountSuspended: p.accountSuspended,
		Expired:          p.lapsed,
	}
}

func (p *peer) state() PeerState {
	return PeerState{
		PublicKey:    p.key,
		PresharedKey: keyOf(p.presharedKey),
		Addrs:        p.addrs,
		Account:      p.account,
		Labels:       p.labels,
		SpeedLimit:   p.speedLimit,
		Budget:       p.ledger.Budget(),
		Throttle:     throttleOf(p.ledger.Cap()),
		Counters:     p.counters,
	}
}

// addTo adds nothing for a peer that is not active, which a dataplane does not have.
func (p *peer) addTo(change *Change) {
	if p.active() {
		change.SetPeers = append(change.SetPeers, p.state())
	}
}

// matches reports whether adding a peer with this specification would make the one that is there.
func (p *peer) matches(spec PeerSpec) bool {
	for _, addr := range spec.Addrs {
		if !slices.Contains(p.addrs, addr) {
			return false
		}
	}
	return keyOf(p.presharedKey) == spec.PresharedKey && p.name == spec.Name && p.account == spec.Account &&
		maps.Equal(p.labels, spec.Labels) && p.speedLimit == spec.SpeedLimit && p.ledger.Cap().Equal(spec.DataCap) &&
		p.expiresAt().Equal(spec.ExpiresAt) && p.gracePeriod() == spec.GracePeriod && p.idleTimeout == spec.IdleTimeout
}

// optional is a key that most peers do not have, as it is kept; nil for the zero key.
func optional(key wgtypes.Key) *wgtypes.Key {
	if key == (wgtypes.Key{}) {
		return nil
	}
	return &key
}

// keyOf is the inverse of optional.
func keyOf(key *wgtypes.Key) wgtypes.Key {
	if key == nil {
		return wgtypes.Key{}
	}
	return *key
}
