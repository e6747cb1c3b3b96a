package wgnode

import (
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/ipam"
	"github.com/waylume/waylume/isolation"
	"github.com/waylume/waylume/shaping"
)

// What a zero field of [Config] means.
const (
	// DefaultMTU leaves room for WireGuard's 80 bytes over IPv6 in an Ethernet frame of 1500.
	DefaultMTU = 1420
	// DefaultKeepalive is what the WireGuard manual recommends behind NAT.
	DefaultKeepalive = 25 * time.Second
	// DefaultEventBuffer is how many events a reader may fall behind.
	DefaultEventBuffer = 1024
	// DefaultSyncPeriod is how often the dataplane is compared with what it should be.
	DefaultSyncPeriod = time.Minute
	// DefaultCheckpointPeriod is how often usage is written to the store.
	DefaultCheckpointPeriod = time.Second
	// DefaultUsageLogPeriod divides an hour in every time zone.
	DefaultUsageLogPeriod = 15 * time.Minute
)

// Bounds of [Config] fields.
const (
	// MinMTU is the least that IPv6 permits (RFC 8200, section 5).
	MinMTU = 1280
	MaxMTU = 9000
	// MaxEventBuffer bounds the memory that events take.
	MaxEventBuffer = 1 << 20

	// MinUsageLogPeriod and MaxUsageLogPeriod are the shortest and the longest time between readings in a usage log.
	MinUsageLogPeriod = time.Minute
	MaxUsageLogPeriod = 24 * time.Hour

	minPeriod    = time.Second
	maxKeepalive = 65535 * time.Second
	maxDNS       = 8
)

// Config says what a node is. Only Dataplane is required. [New] checks it whole and copies it.
type Config struct {
	// PrivateKey is the node's WireGuard key, for a program that keeps it itself; it may be another one at each start. Zero: the
	// one in PrivateKeyFile; without that, the one in Store, where the first start puts a generated one.
	PrivateKey wgtypes.Key

	// PrivateKeyFile is the path of a file where the node keeps its key, as package keyfile has it, so that neither Store nor its
	// backups hold it. The first start makes it, with the key that Store has from before, if any, and takes that out of there.
	// Store remembers the public key: a file with another one, or none where peers know the node, is [ErrKeyMismatch]. During an
	// overlap of keys the former one is beside it, with ".former" at the end of its name: see [Node.RotateKey].
	PrivateKeyFile string

	// AcceptNewKey lets a start go on that would fail with [ErrKeyMismatch]: with the key in PrivateKeyFile, or else with a new
	// one. All clients need new configurations then.
	AcceptNewKey bool

	// ListenPort is the UDP port for WireGuard; 0 lets the system choose.
	ListenPort uint16

	// Endpoint is where clients reach the node from outside, as their configurations name it: a host name or an IP address,
	// with a port or without (then the listening port is added). Only [Node.ClientConfig] needs it; it is never resolved.
	Endpoint string

	// Pool says where peers' addresses come from. Zero: [ipam.DefaultConfig].
	Pool ipam.Config

	// StableAddresses leases a peer the same address each time it is added, made from its public key, while that is free;
	// otherwise addresses are leased in order.
	StableAddresses bool

	// MTU is the largest packet inside the tunnel, in bytes, MinMTU to MaxMTU. 0: DefaultMTU.
	MTU int

	// DNS are the resolvers that clients are told to use, at most 8. Nil: [DefaultDNS]. Empty but not nil: none, so that
	// clients go on with their own, which may then see every name they ask for.
	DNS []netip.Addr

	// Keepalive is the interval at which clients are told to keep their NAT mappings alive, in whole seconds, at most
	// 65,535. 0: DefaultKeepalive. Negative: none.
	Keepalive time.Duration

	// SpeedLimit is the ceiling for all peers together. Zero: unlimited. [Node.SetSpeedLimit] of a peer or an account is
	// stored; this is not, and holds at each Start.
	SpeedLimit shaping.Limit

	// Policy says who may reach what. Zero: the default policy of package isolation. It holds at each Start, whatever
	// [Node.SetPolicy] set before.
	Policy isolation.Policy

	// Dataplane moves the packets. Required. The node starts it and closes it.
	Dataplane Dataplane

	// Store keeps peers, accounts and usage. Nil: a [MemoryStore]. The node closes it.
	Store Store

	// Admit is asked before peers are added, by whichever way, with their specifications as they would be added: valid, and with
	// public keys. An error refuses all of them, and matches [ErrNotAdmitted] then; else done is called when the addition has
	// ended, however it did; nil: nothing is. No lock of the node is held meanwhile, so that Admit may call its methods; additions
	// of others go on, and so may the same one at the same time. It must not change the specifications. Peers that are in the store
	// at the start, and changes of peers that are there, are not asked about. Nil: all are admitted.
	Admit func(ctx context.Context, specs []PeerSpec) (done func(), err error)

	// Tracer is told of what the node does as it is done. Nil: nobody is.
	Tracer Tracer

	// Logger receives what an operator should know. Nil: nothing is logged.
	Logger *slog.Logger

	// EventBuffer is how many events a reader may fall behind before it misses some, at most MaxEventBuffer.
	// 0: DefaultEventBuffer.
	EventBuffer int

	// SyncPeriod is how often the dataplane is compared with what it should be, and mended, at least 1 s.
	// 0: DefaultSyncPeriod.
	SyncPeriod time.Duration

	// CheckpointPeriod is how often usage is written to the store, at least 1 s, or ten times what it takes if that is more:
	// what moved since is forgotten when the process is killed, or, where the kernel counts, when the host goes down. 0:
	// DefaultCheckpointPeriod.
	CheckpointPeriod time.Duration

	// UsageLog keeps what each peer and account used over time, for [Node.UsageBetween] and [Node.UsageSeries]: what
	// [usagelog.Open] returns. Nil: none. The node closes it.
	UsageLog UsageLog

	// UsageLogPeriod is how often all counters are written to UsageLog, beside each start, close and removal: at its multiples
	// by the clock in UTC, which is why it must divide an hour or a day; MinUsageLogPeriod to MaxUsageLogPeriod. 0:
	// DefaultUsageLogPeriod.
	UsageLogPeriod time.Duration
}

// DefaultDNS is what clients are told to use unless [Config] says otherwise: Quad9 over IPv4 and IPv6, which is run by a
// foundation, does not log addresses, and refuses names known to be malicious (quad9.net).
func DefaultDNS() []netip.Addr {
	return []netip.Addr{netip.AddrFrom4([4]byte{9, 9, 9, 9}), netip.MustParseAddr("2620:fe::fe")}
}

// withDefaults returns a copy that shares nothing with c and has no zero field left that means something else.
func (c Config) withDefaults() Config {
	c.Pool.Prefixes, c.Pool.Excluded = slices.Clone(c.Pool.Prefixes), slices.Clone(c.Pool.Excluded)
	c.Policy = c.Policy.Clone()
	if c.MTU == 0 {
		c.MTU = DefaultMTU
	}
	if c.DNS == nil {
		c.DNS = DefaultDNS()
	}
	c.DNS = slices.Clone(c.DNS)
	switch {
	case c.Keepalive == 0:
		c.Keepalive = DefaultKeepalive
	case c.Keepalive < 0:
		c.Keepalive = 0
	}
	if c.Store == nil {
		c.Store = NewMemoryStore()
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.EventBuffer == 0 {
		c.EventBuffer = DefaultEventBuffer
	}
	if c.SyncPeriod == 0 {
		c.SyncPeriod = DefaultSyncPeriod
	}
	if c.CheckpointPeriod == 0 {
		c.CheckpointPeriod = DefaultCheckpointPeriod
	}
	if c.UsageLogPeriod == 0 {
		c.UsageLogPeriod = DefaultUsageLogPeriod
	}
	return c
}
