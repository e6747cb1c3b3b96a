package nodes

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/waylume/waylume/registry"
	"github.com/waylume/waylume/registry/placement"
	"github.com/waylume/waylume/wgnode/httpapi/auth/sign"
	"github.com/waylume/waylume/wgnode/httpapi/client"
	api "github.com/waylume/waylume/wgnode/httpapi/v1"
)

var _ placement.Nodes = (*Nodes)(nil)

// Scope is what a key has to be allowed, and all that a request asks for.
const Scope = "peers:write"

// Defaults and bounds of a [Config].
const (
	DefaultAttempts = 2
	MaxAttempts     = 10

	// MaxAge is how long after the beginning of Create, by the wall clock, a request is still signed. A controller bounds how old
	// its knowledge is before it calls ([placement.MaxAge]); a machine that slept between two sendings is not to go on from there.
	MaxAge = 30 * time.Second
)

// Config says as whom nodes are asked. Key and Subject are required.
type Config struct {
	// Key signs requests. Nodes know it, with the scope peers:write.
	Key sign.Key
	// Subject is who asks: what the nodes' audit logs name. 1 to 128 bytes.
	Subject string
	// TLS is for nodes whose URL is https; nil: the system's certificate authorities, and no certificate of the client.
	TLS *tls.Config
	// Attempts is how often a request is sent to one node at most, 1 to MaxAttempts: again only when nobody listened, the connection broke
	// or the node says that it passes. 0: DefaultAttempts. The context of Create bounds them all.
	Attempts int
	// Now is the clock that requests are signed by. Nil: time.Now.
	Now func() time.Time
}

// Nodes asks nodes for peers. Make it with [New]. Its methods may be called from any goroutine.
type Nodes struct {
	cfg       Config
	transport *http.Transport
}

// New returns a way to ask nodes, or an error that names every problem of the configuration and matches [registry.ErrInvalid]. Nobody
// is asked.
func New(cfg Config) (*Nodes, error) {
	var errs []error
	if cfg.Key.ID() == "" {
		errs = append(errs, errors.New("Key: is missing: make one with sign.Ed25519, sign.ECDSA or sign.HMAC"))
	}
	if len(cfg.Subject) == 0 || len(cfg.Subject) > maxSubject {
		errs = append(errs, fmt.Errorf("Subject: has %d bytes: say who asks, in 1 to %d", len(cfg.Subject), maxSubject))
	}
	if cfg.Attempts == 0 {
		cfg.Attempts = DefaultAttempts
	}
	if cfg.Attempts < 1 || cfg.Attempts > MaxAttempts {
		errs = append(errs, fmt.Errorf("Attempts: %d is not in the range 1 to %d", cfg.Attempts, MaxAttempts))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("nodes: %w configuration: %w", registry.ErrInvalid, err)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	dialer := &net.Dialer{Timeout: dialTimeout}
	transport := &http.Transport{
		DialContext: dialer.DialContext, ForceAttemptHTTP2: true, TLSHandshakeTimeout: dialTimeout,
		MaxIdleConnsPerHost: idlePerNode, IdleConnTimeout: idleTimeout, MaxResponseHeaderBytes: 1 << 16,
		TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12},
	}
	if cfg.TLS != nil {
		transport.TLSClientConfig = cfg.TLS.Clone()
	}
	return &Nodes{cfg: cfg, transport: transport}, nil
}

const (
	maxSubject  = 128
	dialTimeout = 5 * time.Second
	idleTimeout = 90 * time.Second
	idlePerNode = 8
)

// Close ends the connections that wait to be used again. Requests that are under way go on.
func (n *Nodes) Close() { n.transport.CloseIdleConnections() }

// Create implements [placement.Nodes]: it asks server for the peer of session, which is an [api.PeerSpec] in Session.Peer. Addresses
// there are a wish for as long as the session has none: if they are not free, the node gives others. Errors match
// [placement.ErrAddresses] or [placement.ErrPeer] as that says; else they are the client's ([client.ErrUnreachable],
// [client.ErrConflict] where the node has been told to release the session, ...) or the context's.
func (n *Nodes) Create(ctx context.Context, server registry.Server, session registry.Session) (placement.Peer, error) {
	spec, err := specOf(session)
	if err != nil {
		return placement.Peer{}, err
	}
	c, err := n.client(server)
	if err != nil {
		return placement.Peer{}, err
	}
	created, err := create(ctx, c, session, spec)
	if errors.Is(err, placement.ErrAddresses) && len(session.Addresses) == 0 {
		spec.Addresses = nil // those were a wish
		created, err = create(ctx, c, session, spec)
	}
	if err != nil {
		return placement.Peer{}, err
	}
	if created.PublicKey != spec.PublicKey {
		return placement.Peer{}, fmt.Errorf("%w: it is of the peer %s", client.ErrAnswer, created.ID)
	}
	answer, err := json.Marshal(created)
	if err != nil {
		return placement.Peer{}, err
	}
	return placement.Peer{Addresses: created.Addresses, Answer: answer}, nil
}

func create(ctx context.Context, c *client.Client, s registry.Session, spec api.PeerSpec) (api.CreatedPeer, error) {
	created, err := c.CreatePeer(ctx, spec, client.IdempotencyKey(idempotencyKey(s, spec)))
	if err != nil {
		return api.CreatedPeer{}, meaning(err, spec)
	}
	return created, nil
}

// idempotencyKey is one of what is asked for: a session in a generation, with the addresses that it had, with those that it would like,
// or, where these are not free, without any.
func idempotencyKey(s registry.Session, spec api.PeerSpec) string {
	key := string(s.ID) + ":" + strconv.FormatInt(s.Generation, 10)
	switch {
	case len(s.Addresses) > 0:
		key += ":same-addresses"
	case len(spec.Addresses) > 0:
		key += ":wished-addresses"
	}
	return key
}

// client is of one node, and signs for it alone.
func (n *Nodes) client(server registry.Server) (*client.Client, error) {
	if server.APIURL == "" {
		return nil, fmt.Errorf("nodes: %s has no API that could be asked: set its URL where it registers", server.Name)
	}
	claims := sign.Claims{Subject: n.cfg.Subject, Audience: server.Audience, Scopes: []string{Scope}, Now: n.cfg.Now}
	if claims.Audience == "" {
		claims.Audience = server.Name
	}
	began := n.cfg.Now().Round(0) // without its monotonic part, which stands still while a machine sleeps
	return client.New(client.Config{
		URL: server.APIURL, HTTPClient: &http.Client{Transport: n.transport}, Attempts: n.cfg.Attempts,
		Authorize: func(r *http.Request, _ []byte) error {
			if age := n.cfg.Now().Round(0).Sub(began); age < 0 || age > MaxAge {
				return fmt.Errorf("nodes: the request to %s began %s ago by the clock: who owns the session has to be asked anew", server.Name, age)
			}
			return sign.Request(r, n.cfg.Key, claims)
		},
	})
}
