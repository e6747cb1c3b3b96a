package wgnode

import (
	"context"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/isolation"
	"github.com/waylume/waylume/quota"
	"github.com/waylume/waylume/shaping"
)

// Dataplane moves packets for a [Node]: it decrypts, isolates, meters, shapes and forwards, and decides nothing. All that
// it needs to know reaches it as a [State], whole, or a [Change] to it.
//
// The node calls Start once, then Apply, Sync and Stats from one goroutine at a time or from several (Stats may run beside
// the others), then Close, then Stats once more. A dataplane that cannot do what a state asks for returns an error that matches
// [ErrNotSupported] and names what is required. Package wgnodetest/conformance has
// the suite that every dataplane must pass.
type Dataplane interface {
	// Start brings the dataplane up with everything in want in force before the first packet can pass. A Start that
	// fails leaves nothing behind.
	Start(ctx context.Context, cfg DataplaneConfig, want State) (DataplaneInfo, error)

	// Apply makes one change, whole or not at all: after an error the dataplane is as it was. Setting what is already so
	// is a success that changes nothing, and so is removing what is not there.
	Apply(ctx context.Context, change Change) error

	// Sync makes the dataplane equal to want and reports what it had to mend; nothing when nothing differed.
	Sync(ctx context.Context, want State) ([]Repair, error)

	// Stats reads counters without disturbing traffic. Peers and accounts asked for by name but not present are left out.
	// After the Close of a dataplane that ran it returns the last counters, read when nothing passed any more, and neither
	// handshakes nor endpoints.
	Stats(ctx context.Context, query StatsQuery) (Stats, error)

	// Close stops all traffic, frees everything and joins every goroutine. It may be called at any time, more than once.
	Close() error
}

// DataplaneConfig is what stays fixed between a dataplane's Start and Close.
type DataplaneConfig struct {
	// PrivateKey is the node's WireGuard private key, until a [KeyChanger] is told another.
	PrivateKey wgtypes.Key
	// FormerKey is another private key, until a [KeyChanger] is told otherwise, whose peers are served just the same; zero: none. A
	// dataplane that serves one key alone starts all the same, and says so among its limitations.
	FormerKey wgtypes.Key
	// ListenPort is the UDP port for WireGuard; 0 lets the system choose.
	ListenPort uint16
	// MTU is the largest inner IP packet, in bytes, 1280 to 9000.
	MTU int
	// Addresses are the node's own tunnel addresses with the prefix that peers' addresses are leased from.
	Addresses []netip.Prefix
	// Pool are all prefixes that peers' addresses are leased from; those of Addresses are among them.
	Pool []netip.Prefix
	// Notify receives what the dataplane has to say. It never blocks, may be called from any goroutine, and is called
	// with no lock of the dataplane held.
	Notify func(DataplaneEvent)
	// Logger is never nil.
	Logger *slog.Logger
}

// DataplaneInfo describes a dataplane that has started.
type DataplaneInfo struct {
	// Name is "userspace", "kernel" or the like.
	Name string
	// ListenPort is the UDP port that WireGuard listens on.
	ListenPort uint16
	// Limitations names, in words for a person, what this system keeps the dataplane from doing.
	Limitations []string
}

// State is everything that a dataplane must have in force. Slices and maps in it, and in a [Change], may be kept but not
// changed.
type State struct {
	// SpeedLimit is the ceiling for all peers together.
	SpeedLimit shaping.Limit
	// Policy says who may reach what.
	Policy isolation.Policy
	// Accounts are named by peers; each account that a peer names is here.
	Accounts []AccountState
	Peers    []PeerState
}

// Change is a difference between two states. A dataplane takes its parts in the order of the fields, so that a rule
// stands before the peer it restrains, and a leaving peer's address is free before another takes it.
type Change struct {
	// SpeedLimit, when not nil, is the new ceiling of the node.
	SpeedLimit *shaping.Limit
	// Policy, when not nil, replaces the policy.
	Policy *isolation.Policy
	// SetAccounts adds accounts or replaces their state.
	SetAccounts []AccountState
	RemovePeers []wgtypes.Key
	// SetPeers adds peers or replaces their state; a peer that stays keeps its session, its queue and its counters.
	SetPeers []PeerState
	// RemoveAccounts removes accounts that no peer names any more.
	RemoveAccounts []string
}

// AccountState is the limit and the budget that an account's peers share.
type AccountState struct {
	// ID is the account's name, 1 to 128 bytes.
	ID         string
	SpeedLimit shaping.Limit
	Budget     quota.Budget
	// Throttle replaces SpeedLimit, where it is lower, while a budget with quota.Throttle is used up.
	Throttle shaping.Limit
	// Counters are where counting starts if the dataplane does not hold the account yet, else they are ignored.
	Counters quota.Counters
}

// PeerState is one peer as a dataplane sees it.
type PeerState struct {
	PublicKey    wgtypes.Key
	PresharedKey wgtypes.Key // zero: none
	// Addrs are the peer's tunnel addresses; it may send from these and from no others.
	Addrs []netip.Addr
	// Account is empty for a peer of no account.
	Account    string
	Labels     map[string]string
	SpeedLimit shaping.Limit
	Budget     quota.Budget
	// Throttle replaces SpeedLimit, where it is lower, while a budget with quota.Throttle is used up.
	Throttle shaping.Limit
	// Counters are where counting starts if the dataplane does not hold the peer yet, else they are ignored.
	Counters quota.Counters
	// Keepalive is the interval of persistent keepalives from the node to the peer; 0 sends none.
	Keepalive time.Duration
}

// Equal reports whether two states ask for the same; Counters, which only seed a new peer, are left out.
func (p PeerState) Equal(q PeerState) bool {
	return p.PublicKey == q.PublicKey && p.PresharedKey == q.PresharedKey && slices.Equal(p.Addrs, q.Addrs) &&
		p.Account == q.Account && maps.Equal(p.Labels, q.Labels) && p.SpeedLimit == q.SpeedLimit && p.Budget == q.Budget &&
		p.Throttle == q.Throttle && p.Keepalive == q.Keepalive
}

// Subject is the peer as package isolation names it.
func (p PeerState) Subject() isolation.Subject {
	return isolation.Subject{ID: p.PublicKey.String(), Account: p.Account, Labels: p.Labels, Addrs: p.Addrs}
}

// StatsQuery says whose counters to read.
type StatsQuery struct {
	// All reads every peer and account; else Peers and Accounts name those wanted.
	All      bool
	Peers    []wgtypes.Key
	Accounts []string
	// Device also reads last handshakes and endpoints, which some dataplanes can only read for all peers at once.
	Device bool
	// Health also looks for what is wrong: it may ask the system a few questions, whatever the number of peers.
	Health bool
}

// Stats are counters at one moment. The order is that of the query, or any order for All.
type Stats struct {
	Peers    []PeerStats
	Accounts []AccountStats
	// Dropped counts packets that did not pass, by reason, over the dataplane's life.
	Dropped map[string]uint64
	// Problems are what is wrong at that moment, if the query asks for Health: one of a kind at most, of the kinds that a
	// dataplane tells, with What, and with Since if the dataplane knows better than that it is so now. Nil when all is well.
	Problems []HealthProblem
}

// PeerStats are one peer's counters.
type PeerStats struct {
	PublicKey wgtypes.Key
	// Counters are inner IP bytes that were delivered.
	Counters quota.Counters
	// Depleted reports that the peer's budget is used up.
	Depleted bool
	// LastHandshake is zero when there was none; it and all below are set only when the query asks for Device.
	LastHandshake time.Time
	Endpoint      netip.AddrPort
	// Received and Sent are the bytes of WireGuard's messages, handshakes and keepalives among them, without the headers of IP
	// and UDP, since the device has the peer. Of what came only what was authentic counts.
	Received, Sent uint64
	FormerKey      bool // the last handshake was with DataplaneConfig.FormerKey; set only when the query asks for Device
}

// AccountStats are one account's counters.
type AccountStats struct {
	ID       string
	Counters quota.Counters
	Depleted bool
}

// Repair is one thing that Sync had to mend.
type Repair struct {
	// What was done, in words: "added peer", "removed stray peer", "set limit".
	What string
	// Subject is the peer's key or the account's name; empty for the node.
	Subject string
}

// DataplaneEventKind says what a [DataplaneEvent] reports.
type DataplaneEventKind int

const (
	// BudgetReached reports that a peer's or an account's counter reached its mark or its limit.
	BudgetReached DataplaneEventKind = iota + 1
	// DataplaneFailed reports that packets no longer move; Err says why. The node closes.
	DataplaneFailed
	// DataplaneDisturbed reports that someone else changed what is the dataplane's: the node syncs.
	DataplaneDisturbed
)

// DataplaneEvent is a dataplane's word to its node.
type DataplaneEvent struct {
	Kind DataplaneEventKind
	// Peer or Account is set for BudgetReached.
	Peer    wgtypes.Key
	Account string
	Err     error
}
