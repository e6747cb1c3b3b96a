package registry

import (
	"net/netip"
	"time"
)

// DefaultPool is the pool of a server or a query that names none.
const DefaultPool = "default"

// ID names a server in the fleet, for as long as the fleet knows it: a UUID (RFC 9562) in lower case.
type ID string

// Registration is what a node says of itself when it joins. It says all of it anew whenever it registers.
type Registration struct {
	// Name is the node's, unique in the fleet: 1 to MaxNameLen bytes of letters, digits, '.', '_' and '-'. A node that registers
	// again under its name is the same server, with the same ID.
	Name string `json:"name"`
	// PublicKey is what clients know the node by. Required.
	PublicKey Key `json:"public_key"`
	// EndpointV4 and EndpointV6 are where clients reach the node. One of them at least.
	EndpointV4 netip.AddrPort `json:"endpoint_v4,omitzero"`
	EndpointV6 netip.AddrPort `json:"endpoint_v6,omitzero"`
	// APIURL is where the control plane asks the node for peers: https://HOST:PORT, or http:// inside a private network. Empty:
	// nobody asks it, and no session is placed there.
	APIURL string `json:"api_url,omitempty"`
	// Audience is the name that requests to the API must be signed for. Empty: Name.
	Audience string `json:"audience,omitempty"`

	Location

	// Pool is the group of servers that sessions are placed in and may be moved within. Empty: DefaultPool.
	Pool     string   `json:"pool,omitempty"`
	Capacity Capacity `json:"capacity,omitzero"`
	// Version is that of the node's program; at most MaxNameLen bytes.
	Version string `json:"version,omitempty"`
	// Features are what the node can do that not all can, such as "ipv6" or "kernel": at most MaxFeatures.
	Features []string `json:"features,omitempty"`
}

// Location is where a server stands, as far as it is known.
type Location struct {
	// Region is the operator's word: "eu-central". At most MaxNameLen bytes.
	Region string `json:"region,omitempty"`
	// Country is an ISO 3166-1 alpha-2 code in capitals: "DE".
	Country string `json:"country,omitempty"`
	// City is for people, and for queries that ask for it in the same letters: "Frankfurt". At most MaxNameLen bytes.
	City string `json:"city,omitempty"`
	// Position is what distances are measured from. Nil: unknown.
	Position *Position `json:"position,omitempty"`
}

// Position is a point on the Earth, in degrees by WGS 84.
type Position struct {
	Latitude  float64 `json:"latitude"`  // -90 to 90, north positive
	Longitude float64 `json:"longitude"` // -180 to 180, east positive
}

// Capacity is what a server is meant to carry.
type Capacity struct {
	// Peers are those that it may have at once, at most MaxPeers. 0: as many as come; for its share it counts as DefaultCapacity.
	Peers int `json:"peers,omitempty"`
	// Rate is that of the uplink, each way, in bit/s. 0: unknown.
	Rate int64 `json:"rate,omitempty"`
}

// Bounds of what a server says of itself.
const (
	MaxNameLen      = 64
	MaxFeatures     = 32
	MaxPeers        = 1 << 24
	DefaultCapacity = 10_000 // peers
)

// Server is a node as the fleet sees it.
type Server struct {
	ID ID `json:"id"`
	Registration
	Status
	// Draining: no session is placed on it any more, and those that it has are to be moved. The node wants that, or whoever runs
	// the fleet does.
	Draining bool `json:"draining"`
	// Assigned are the sessions that are placed on it, whether it has heard of them or not.
	Assigned     int       `json:"assigned"`
	Incarnation  int64     `json:"incarnation"`
	RegisteredAt time.Time `json:"registered_at"`
	// HeartbeatAt is when the last heartbeat arrived, by the registry's clock. A registration counts as one.
	HeartbeatAt time.Time `json:"heartbeat_at"`
}

// Health is how well a node is.
type Health string

// Healthy: all is well; Degraded: something is wrong, and peers are served; Failing: new sessions are better placed elsewhere.
const (
	Healthy  Health = "healthy"
	Degraded Health = "degraded"
	Failing  Health = "failing"
)

// Status is what changes about a server, and heartbeats tell. The zero Status is that of a healthy node that has nothing to do.
type Status struct {
	// Peers are those that the node has; Connected have shaken hands lately.
	Peers     int `json:"peers"`
	Connected int `json:"connected"`
	// Health is empty for Healthy. Reasons say what is wrong, at most MaxReasons of MaxReasonLen bytes.
	Health  Health   `json:"health,omitempty"`
	Reasons []string `json:"reasons,omitempty"`
	Load    Load     `json:"load,omitzero"`
}

// Bounds of what a heartbeat says.
const (
	MaxReasons   = 16
	MaxReasonLen = 256
)

// Load is what a node measures of itself. Fractions are of what there is, 0 to 1; nil is what could not be measured.
type Load struct {
	// Score is the highest fraction of those that are known: 1 is full.
	Score     float64  `json:"score"`
	CPU       *float64 `json:"cpu,omitempty"`
	Memory    *float64 `json:"memory,omitempty"`
	Conntrack *float64 `json:"conntrack,omitempty"`
	Uplink    *float64 `json:"uplink,omitempty"`
	Peers     *float64 `json:"peers,omitempty"`
	// Rates of the uplink, as a mean since the measurement before: bit/s and packets/s.
	ReceivedRate    int64 `json:"received_rate"`
	SentRate        int64 `json:"sent_rate"`
	ReceivedPackets int64 `json:"received_packets"`
	SentPackets     int64 `json:"sent_packets"`
	// Scaling is what the node's load calls for. Empty: Steady.
	Scaling Scaling `json:"scaling,omitempty"`
}

// Scaling says whether a fleet has too few nodes, as one of them sees it.
type Scaling string

// Steady: as it is; ScaleOut: more nodes; ScaleIn: this one is hardly needed.
const (
	Steady   Scaling = "steady"
	ScaleOut Scaling = "scale_out"
	ScaleIn  Scaling = "scale_in"
)
