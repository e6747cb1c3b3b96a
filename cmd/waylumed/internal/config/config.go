package config

import (
	"io/fs"
	"log/slog"
	"net/netip"
	"time"

	"github.com/waylume/waylume/quota"
	"github.com/waylume/waylume/registry"
	"github.com/waylume/waylume/shaping"
	"github.com/waylume/waylume/wgnode/httpapi/auth"
)

// Config is all that waylumed is told. The table of [Settings] says what each field means, and in which unit a person writes it.
type Config struct {
	// Profile is Standard or Production.
	Profile     string
	Node        Node
	API         API
	Admin       Admin
	Log         Log
	Audit       Audit
	Idempotency Idempotency
	Tracing     Tracing
	Allowlist   Allowlist
	Run         Run
	Fleet       Fleet
	Privacy     Privacy
}

// Values of fields that are words.
const (
	Standard   = "default"
	Production = "production"

	FileStore   = "file"
	MemoryStore = "memory"

	Text = "text"
	JSON = "json"

	Off     = "off"
	Partial = "partial"
	Strict  = "strict"

	// What moves the packets, as [host.Dataplanes] has it.
	AutoDataplane      = "auto"
	KernelDataplane    = "kernel"
	UserspaceDataplane = "userspace"

	// Whose address peers leave with, as [up.NATs] has it.
	Masquerade = "masquerade"
	NoNAT      = "none"

	CloseDataplane = "close"
	KeepDataplane  = "keep"
)

// Node is about the node itself: what peers see of it, and what it keeps.
type Node struct {
	Name           string
	State          string // directory
	Store          string // FileStore or MemoryStore
	PrivateKeyFile string
	ListenPort     uint16
	Endpoint       string
	Pool           []netip.Prefix
	PoolExcluded   []netip.Prefix
	DNS            []netip.Addr // empty, never nil: none
	MTU            int
	SpeedLimit     shaping.Limit

	Dataplane string // AutoDataplane, KernelDataplane or UserspaceDataplane
	// What follows, up to ControlAllow, is the kernel dataplane's.
	Interface, Uplink string
	NAT               string // Masquerade or NoNAT
	SourceAddrs       []netip.Addr
	FirewallMark      uint32
	LeaveFirewalls    bool
	ControlPorts      []uint16
	ControlAllow      []netip.Prefix
	CheckpointPeriod  time.Duration
	SyncPeriod        time.Duration
	UsageLog          time.Duration // 0: none
	UsageRetention    time.Duration
}

// API is what a control plane reaches.
type API struct {
	Listen         []Address
	Docs           bool
	TrustedProxies []netip.Prefix
	Socket         Socket
	TLS            TLS
	Auth           Auth
	Rate           Rate
	Limits         Limits
}

// Socket says who may use listening addresses that are unix sockets.
type Socket struct {
	Mode fs.FileMode
	UIDs []uint32 // beside the process's own user and root
}

// TLS is for listening addresses that are TCP. CertFile and KeyFile are both set or both empty.
type TLS struct {
	CertFile, KeyFile string
	ClientCAFile      string
	ClientScopes      []auth.Scope
}

// Auth says whose requests are taken.
type Auth struct {
	Keys         []Key
	JWKS         JWKS
	BearerToken  Secret
	BearerScopes []auth.Scope
	Audience     string // empty: Node.Name
	ClockSkew    time.Duration
}

// JWKS is where keys come from that somebody else looks after. Both URL and File empty: none.
type JWKS struct {
	URL, File         string
	Refresh, MaxStale time.Duration
	Scopes            []auth.Scope
}

// Rate bounds how many requests are taken, in requests per second.
type Rate struct {
	PerKey, PerSource float64
	Burst             int
}

// Limits bound what one request or connection may take.
type Limits struct {
	Body, Header                      quota.Bytes
	HeaderTime, RequestTime, IdleTime time.Duration
	Connections, ConnectionsPerSource int
}

// Admin is the listener of metrics and profiles. The zero Listen: none.
type Admin struct {
	Listen            Address
	Pprof, PeerSeries bool
}

// Log is what the process says of itself.
type Log struct {
	Format    string // Text or JSON
	Level     slog.Level
	Redaction string // Off, Partial or Strict
}

// Audit is the log of changes. File empty: none.
type Audit struct {
	File      string
	Retention time.Duration
}

// Idempotency is how long the answer to a request with an idempotency key is remembered.
type Idempotency struct{ Retention time.Duration }

// Tracing is where traces go. Endpoint empty: nowhere.
type Tracing struct {
	Endpoint    string // URL of OTLP over HTTP
	SampleRatio float64
	Headers     Secret // "name=value" and more of them after commas
}

// Allowlist is a list of prefixes, in a file or at a URL, that reach the API's TCP ports and Node.ControlPorts beside
// Node.ControlAllow. Both empty: none.
type Allowlist struct {
	File, URL string
	Refresh   time.Duration
}

// Run is how the process begins and ends.
type Run struct {
	DrainTimeout time.Duration
	Stop         string // CloseDataplane or KeepDataplane
	Watchdog     bool
}

// Fleet is which fleet the node is in, and as what. Neither URLs nor Database: none.
type Fleet struct {
	URLs           []string
	Token          Secret
	CredentialFile string
	Database       Secret
	Pins           []string

	Region, Country, City string
	Position              registry.Position // zero: none
	GeoDatabase           string
	Pool                  string
	CapacityPeers         int
	CapacityRate          shaping.Rate
	APIURL                string

	Heartbeat, UsagePeriod time.Duration
	Usage                  bool
}

// Privacy bounds how long anything about people is kept. MaxRetention 0: no bound.
type Privacy struct{ MaxRetention time.Duration }
