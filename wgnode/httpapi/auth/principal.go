package auth

import (
	"context"
	"slices"
)

// Scope is something that a principal may do.
type Scope string

// The scopes that there are. None implies another.
const (
	PeersRead  Scope = "peers:read"  // see peers, accounts, their usage and their quality
	PeersWrite Scope = "peers:write" // add, change and remove peers and accounts
	NodeAdmin  Scope = "node:admin"  // see and change the node itself: status, drain, keys, events, configuration
)

// Scopes returns all that there are.
func Scopes() []Scope { return []Scope{PeersRead, PeersWrite, NodeAdmin} }

// Principal is who has made a request.
type Principal struct {
	// Name is the subject of a token, the name in a certificate, or what the node calls who came through a socket: "unix:1000".
	Name string
	// Method is how they were recognised: "jwt", "mtls", "bearer", "unix".
	Method string
	// KeyID is the kid of the key that has signed the request, if one has.
	KeyID  string
	Scopes []Scope
}

// May reports whether the principal has a scope.
func (p Principal) May(s Scope) bool { return slices.Contains(p.Scopes, s) }

type contextKey struct{}

// NewContext returns a context for a request of the principal.
func NewContext(ctx context.Context, p Principal) context.Context {
	return context.WithValue(ctx, contextKey{}, p)
}

// FromContext returns who has made the request; not ok: nobody was recognised.
func FromContext(ctx context.Context) (p Principal, ok bool) {
	p, ok = ctx.Value(contextKey{}).(Principal)
	return p, ok
}
