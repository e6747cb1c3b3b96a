package v1

import (
	"net/netip"
	"time"
)

// Peer is a peer as it is.
type Peer struct {
	ID               string            `json:"id" doc:"The public key in base64 for URLs, without padding."`
	PublicKey        Key               `json:"public_key"`
	HasPresharedKey  bool              `json:"has_preshared_key"`
	Name             string            `json:"name,omitempty"`
	Addresses        []netip.Addr      `json:"addresses" nullable:"false" doc:"In the tunnel, IPv4 before IPv6."`
	Account          string            `json:"account,omitempty" doc:"The account whose limit and cap the peer shares."`
	Labels           map[string]string `json:"labels,omitempty"`
	SpeedLimit       SpeedLimit        `json:"speed_limit" doc:"The peer's own."`
	DataCap          *DataCap          `json:"data_cap,omitempty" doc:"The peer's own."`
	ExpiresAt        time.Time         `json:"expires_at,omitzero" doc:"Left out: never."`
	GracePeriod      Duration          `json:"grace_period,omitzero"`
	IdleTimeout      Duration          `json:"idle_timeout,omitzero"`
	Active           bool              `json:"active" doc:"The peer can connect: it is none of the three below."`
	Suspended        bool              `json:"suspended"`
	AccountSuspended bool              `json:"account_suspended"`
	Expired          bool              `json:"expired" doc:"expires_at has come, and grace_period runs."`
	CreatedAt        time.Time         `json:"created_at"`
}

// PeerSpec says what a peer shall be. The zero value is a peer with a generated key, leased addresses and no limit.
type PeerSpec struct {
	PublicKey    Key          `json:"public_key,omitzero" doc:"Left out: the node makes a key pair, and answers with the private key, once."`
	PresharedKey Key          `json:"preshared_key,omitzero" doc:"Mixed into the handshake; left out: none."`
	Name         string       `json:"name,omitempty" maxLength:"128" example:"Ada's phone" doc:"For people: at most 128 bytes."`
	Addresses    []netip.Addr `json:"addresses,omitempty" nullable:"false" maxItems:"2" doc:"Asked for, at most one of each family; left out: leased."`
	Account      string       `json:"account,omitempty" maxLength:"128" doc:"An account that exists."`
	// Labels are at most 32.
	Labels      map[string]string `json:"labels,omitempty" maxProperties:"32" doc:"For the node's policy to match."`
	SpeedLimit  SpeedLimit        `json:"speed_limit,omitzero" doc:"The peer's own; left out: none."`
	DataCap     *DataCap          `json:"data_cap,omitempty" doc:"The peer's own; left out: none."`
	ExpiresAt   time.Time         `json:"expires_at,omitzero" doc:"When nothing of the peer passes any more; left out: never."`
	GracePeriod Duration          `json:"grace_period,omitzero" doc:"How long it is kept after expires_at, at most 87600h."`
	IdleTimeout Duration          `json:"idle_timeout,omitzero" doc:"Removes it after so long without a handshake, 5m to 87600h; left out: never."`
}

// CreatedPeer is the answer to a creation, and to a change of keys.
type CreatedPeer struct {
	Peer
	// PrivateKey is zero for a peer that has brought its public key.
	PrivateKey Key    `json:"private_key,omitzero" doc:"Shown this once, and not kept: set when the node made the key pair."`
	Config     string `json:"config,omitempty" doc:"For wg-quick(8) and the apps; left out when the node has no endpoint set."`
	QR         *QR    `json:"qr,omitempty" doc:"config as a QR code, if asked for."`
	FormerID   string `json:"former_id,omitempty" doc:"After a change of keys: the id before."`
}

// QR is a configuration as a QR code. It holds the private key.
type QR struct {
	MediaType string `json:"media_type" enum:"image/png,image/svg+xml"`
	Data      []byte `json:"data" doc:"The image, in base64."`
}

// PeerList is a page of a list.
type PeerList struct {
	Items []Peer `json:"items" nullable:"false"`
	Next  string `json:"next,omitempty" doc:"Give it as cursor for the next page; left out: this is the last."`
}

// PeerSettings are what of a peer can be changed.
type PeerSettings struct {
	Account     string     `json:"account,omitempty" maxLength:"128" doc:"An account that exists; null: out of any."`
	SpeedLimit  SpeedLimit `json:"speed_limit,omitzero" doc:"The peer's own; null: none."`
	DataCap     *DataCap   `json:"data_cap,omitempty" doc:"The peer's own; null: none."`
	ExpiresAt   time.Time  `json:"expires_at,omitzero" doc:"When nothing of the peer passes any more; null: never."`
	GracePeriod Duration   `json:"grace_period,omitzero" doc:"How long it is kept after expires_at; null: not at all."`
	IdleTimeout Duration   `json:"idle_timeout,omitzero" doc:"Removes it after so long without a handshake; null: never."`
	Suspended   bool       `json:"suspended,omitzero" doc:"true closes the peer, false or null opens it."`
}

// PeerPatch changes PeerSettings.
type PeerPatch struct {
	Account     Field[string]          `json:"account,omitzero"`
	SpeedLimit  Field[SpeedLimitPatch] `json:"speed_limit,omitzero"`
	DataCap     Field[DataCapPatch]    `json:"data_cap,omitzero"`
	ExpiresAt   Field[time.Time]       `json:"expires_at,omitzero"`
	GracePeriod Field[Duration]        `json:"grace_period,omitzero"`
	IdleTimeout Field[Duration]        `json:"idle_timeout,omitzero"`
	Suspended   Field[bool]            `json:"suspended,omitzero"`
}

// SpeedLimitPatch changes one direction or both.
type SpeedLimitPatch struct {
	Download Field[Rate] `json:"download,omitzero"`
	Upload   Field[Rate] `json:"upload,omitzero"`
}

// DataCapPatch changes parts of a data cap. What Period leaves out is as it was, too: to have a period of another kind, take
// away what that has no use for, with [Null].
type DataCapPatch struct {
	Bytes            Field[Bytes]       `json:"bytes,omitzero"`
	Counted          Field[string]      `json:"counted,omitzero"`
	Period           Field[PeriodPatch] `json:"period,omitzero"`
	AtEnd            Field[string]      `json:"at_end,omitzero"`
	ThrottleDownload Field[Rate]        `json:"throttle_download,omitzero"`
	ThrottleUpload   Field[Rate]        `json:"throttle_upload,omitzero"`
	Thresholds       Field[[]int]       `json:"thresholds,omitzero"`
}

// PeriodPatch changes parts of a period.
type PeriodPatch struct {
	Kind     Field[string]   `json:"kind,omitzero"`
	TimeZone Field[string]   `json:"time_zone,omitzero"`
	Weekday  Field[string]   `json:"weekday,omitzero"`
	Day      Field[int]      `json:"day,omitzero"`
	Hour     Field[int]      `json:"hour,omitzero"`
	Window   Field[Duration] `json:"window,omitzero"`
}

// PeerKeys are the keys that a peer shall have.
type PeerKeys struct {
	PublicKey    Key        `json:"public_key,omitzero" doc:"Left out: the node makes a key pair, and answers with the private key, once."`
	PresharedKey Field[Key] `json:"preshared_key,omitzero" doc:"Left out: it stays; null: none."`
}

// MaxBulk is how many peers one request can create or delete.
const MaxBulk = 10_000

// BulkCreate creates many peers, all or none.
type BulkCreate struct {
	Peers []PeerSpec `json:"peers" nullable:"false" minItems:"1" maxItems:"10000"`
}

// BulkCreated has the peers in the order of the request.
type BulkCreated struct {
	Peers []CreatedPeer `json:"peers" nullable:"false"`
}

// BulkDelete removes many peers, all or none.
type BulkDelete struct {
	IDs []Key `json:"ids" nullable:"false" minItems:"1" maxItems:"10000" doc:"Ids or public keys; one that comes twice counts once."`
}

// PeerConfig is what a peer's device needs, without the secrets.
type PeerConfig struct {
	Addresses       []netip.Addr   `json:"addresses" nullable:"false"`
	DNS             []netip.Addr   `json:"dns" nullable:"false" doc:"Empty: the device goes on with its own."`
	MTU             int            `json:"mtu"`
	ServerPublicKey Key            `json:"server_public_key"`
	HasPresharedKey bool           `json:"has_preshared_key" doc:"The peer has one, which is not shown."`
	AllowedIPs      []netip.Prefix `json:"allowed_ips" nullable:"false"`
	Endpoint        string         `json:"endpoint" doc:"host:port"`
	Keepalive       Duration       `json:"keepalive,omitzero"`
	Text            string         `json:"text" doc:"For wg-quick(8), with a comment in the place of the private key, and no preshared key."`
}

// Quality is how good a peer's connection is, as far as the node can see; see wgnode.PeerQuality.
type Quality struct {
	State             string         `json:"state" doc:"How the peer is connected, in a word."`
	ReadAt            time.Time      `json:"read_at,omitzero"`
	WatchedSince      time.Time      `json:"watched_since,omitzero"`
	LastHandshake     time.Time      `json:"last_handshake,omitzero"`
	FormerKey         bool           `json:"former_key" doc:"The peer still knows the node by its former key."`
	Endpoint          netip.AddrPort `json:"endpoint,omitzero" doc:"Where the peer was heard from last."`
	EndpointChanges   uint64         `json:"endpoint_changes"`
	EndpointChangedAt time.Time      `json:"endpoint_changed_at,omitzero"`
	Download          Rate           `json:"download" doc:"Inner IP bytes towards the peer now, in bit/s."`
	Upload            Rate           `json:"upload" doc:"Inner IP bytes from the peer now, in bit/s."`
	Window            Duration       `json:"window,omitzero" doc:"How long the measurement took; left out: the speed is not known."`
	Handshakes        uint32         `json:"handshakes" doc:"Handshakes that were judged."`
	HandshakesFailed  uint32         `json:"handshakes_failed"`
}
