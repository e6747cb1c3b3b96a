package registry

import (
	"context"
	"encoding/json"
	"net/netip"
	"time"
)

// SessionID names a session: a UUID (RFC 9562) in lower case.
type SessionID string

// Labels of a peer that belongs to a session: its ID, and the generation of the placement in decimal. A node refuses
// a peer whose generation it has been told to release.
const (
	SessionLabel    = "waylume.session"
	GenerationLabel = "waylume.generation"
)

// SessionState is how far a session has come.
type SessionState string

// Placing: a server was chosen, and may not have the peer yet; Active: it has; Ended: the session is over, for good.
const (
	Placing SessionState = "placing"
	Active  SessionState = "active"
	Ended   SessionState = "ended"
)

// NewSession asks for a session.
type NewSession struct {
	// User is whose it is: 1 to 128 bytes.
	User string `json:"user"`
	// IdempotencyKey makes asking twice harmless: 1 to 128 bytes, one for each session of a user.
	IdempotencyKey string `json:"idempotency_key"`
	// PublicKey is the client's. A session that has not ended is the only one of its key.
	PublicKey Key `json:"public_key"`
	// Query chooses the server, then and whenever the session moves. Its SessionKey is empty: the session's ID is taken.
	Query Query `json:"query"`
	// Peer is what the server is to be asked for, in the form that its API takes; the registry keeps it and does not look at it.
	Peer json.RawMessage `json:"peer,omitempty"`
	// ExpiresAt is when the session is over by itself; zero: never.
	ExpiresAt time.Time `json:"expires_at,omitzero"`
}

// Session is a client's use of the fleet, on one server after another.
type Session struct {
	ID             SessionID       `json:"id"`
	User           string          `json:"user"`
	IdempotencyKey string          `json:"idempotency_key"`
	PublicKey      Key             `json:"public_key"`
	Query          Query           `json:"query"`
	Peer           json.RawMessage `json:"peer,omitempty"`
	State          SessionState    `json:"state"`
	// Server is the owner; of a session that has ended, the last one.
	Server ID `json:"server"`
	// Generation counts the placements, from 1.
	Generation int64 `json:"generation"`
	// Addresses are those in the tunnel, as the last server that confirmed gave them.
	Addresses []netip.Addr `json:"addresses,omitempty"`
	// Download and Upload are inner IP bytes that servers have reported.
	Download    int64     `json:"download"`
	Upload      int64     `json:"upload"`
	CreatedAt   time.Time `json:"created_at"`
	PlacedAt    time.Time `json:"placed_at"`
	ConfirmedAt time.Time `json:"confirmed_at,omitzero"` // by the owner; zero until it has
	ExpiresAt   time.Time `json:"expires_at,omitzero"`
	EndedAt     time.Time `json:"ended_at,omitzero"`
	EndReason   string    `json:"end_reason,omitempty"`
}

// Sessions is what a control plane needs to place sessions. Its methods may be called from any goroutine, and any process.
type Sessions interface {
	// Begin places a new session on a server that its query selects. Asking again with the same user and idempotency key returns
	// the session that there is. Errors: ErrNoServer; ErrConflict, when the idempotency key was used for another public key, or
	// the public key is another session's; ErrInvalid, ErrUnavailable.
	Begin(ctx context.Context, s NewSession) (Session, error)
	// Confirm says that the server of a generation has the peer, with these addresses. Errors: ErrConflict, when the session has
	// moved on or ended: then whoever made the peer need do nothing, for the server is told to release it; ErrUnknownSession. To
	// confirm once more is no error.
	Confirm(ctx context.Context, id SessionID, generation int64, addresses []netip.Addr) (Session, error)
	// Move places a session on another server than that of this generation, and none of those excluded here or by its query; the
	// query's Current does not count any more. If the server that had it has been silent for longer than the query's
	// freshness, none is overloaded for it. The server that had it is told to release it. Errors: ErrConflict, ErrNoServer, after
	// which it is where it was, ErrUnknownSession.
	Move(ctx context.Context, id SessionID, generation int64, exclude ...ID) (Session, error)
	// End ends a session and has its server release it. To end one that has ended is no error. Errors: ErrUnknownSession.
	End(ctx context.Context, id SessionID, reason string) (Session, error)
	// Stranded returns sessions that should be moved or ended, the oldest placement first, at most limit: those whose server has
	// been silent for longer than freshness (0: DefaultFreshness), is draining or was deregistered; those that nobody confirmed
	// within freshness of their placement; and those past ExpiresAt, which are to be ended.
	Stranded(ctx context.Context, freshness time.Duration, limit int) ([]Session, error)
}
