package supabase

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"
	"time"

	"github.com/waylume/waylume/registry"
)

// lateWindow is how long a registration that was given up may be carried out after all: its token counts for less than a minute, and no
// function runs for longer than this.
const lateWindow = 3 * time.Minute

// Client asks a fleet for one node, with the credential that it was enrolled with. Use Open.
type Client struct {
	caller
	keys *keyKeeper

	// rotating has room for the one rotation that may be under way.
	rotating chan struct{}

	mu sync.Mutex
	// late is until when a registration may be carried out that was given up.
	late time.Time
}

var _ registry.Registry = (*Client)(nil)

// Open returns a client with the credential that there is, having connected to nothing. Errors: [ErrNotEnrolled], which matches
// fs.ErrNotExist too if there is no file; [ErrExposed], [ErrCorrupt], [ErrOtherFleet], or what is wrong with the configuration.
func Open(cfg Config) (*Client, error) {
	if err := cfg.complete(); err != nil {
		return nil, fmt.Errorf("fleet: %w", err)
	}
	keep, err := openKeeper(cfg.CredentialFile)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("fleet: %w: %w: enroll it with a token", ErrNotEnrolled, err)
	case err != nil:
		return nil, fmt.Errorf("fleet: %w", err)
	}
	doc := keep.document()
	if doc.Pending != nil {
		return nil, fmt.Errorf("fleet: %w: %s has a key that no answer came for: enroll it again, with the same token",
			ErrNotEnrolled, cfg.CredentialFile)
	}
	urls, err := doc.reach(&cfg)
	if err != nil {
		return nil, fmt.Errorf("fleet: %s: %w", cfg.CredentialFile, err)
	}
	keys, err := openKeys(&cfg)
	if err != nil {
		return nil, fmt.Errorf("fleet: %w", err)
	}
	c := &Client{keys: keys, rotating: make(chan struct{}, 1)}
	if err := c.caller.init(cfg, urls, keep); err != nil {
		return nil, fmt.Errorf("fleet: %w", err)
	}
	return c, nil
}

// reach returns the base URLs that a credential is used with.
func (d *document) reach(cfg *Config) ([]string, error) {
	if cfg.Audience != "" && cfg.Audience != d.Audience {
		return nil, fmt.Errorf("%w: its audience is %q, and the configuration's is %q: name the file of that fleet, or enroll there",
			ErrOtherFleet, d.Audience, cfg.Audience)
	}
	if len(cfg.URLs) > 0 {
		if !slices.ContainsFunc(cfg.URLs, func(u string) bool { return slices.Contains(d.URLs, u) }) {
			return nil, fmt.Errorf("%w: it is for %v, and the configuration names %v: if the fleet has moved, name one of the former, too",
				ErrOtherFleet, d.URLs, cfg.URLs)
		}
		return cfg.URLs, nil
	}
	for i, u := range d.URLs {
		if _, err := cfg.parseURL(u); err != nil {
			return nil, fmt.Errorf("urls[%d]: %w", i, err)
		}
	}
	return d.URLs, nil
}

// Close ends the connections that wait to be used again. Calls that are under way go on. It may be called more than once.
func (c *Client) Close() error {
	c.close()
	return nil
}

// Info is what there is to know of a credential, none of it secret.
type Info struct {
	Server registry.ID
	// Name is the one that the node was enrolled under.
	Name, Audience string
	// URLs are those that are asked, the first preferred.
	URLs []string
	// Credential is the id of the key that signs, and Created when that was made.
	Credential string
	Created    time.Time
	// Rotating: a rotation has begun and is not through.
	Rotating bool
	// Difference is what the fleet's clock is ahead of this host's, if it ever refused a request for that.
	Difference time.Duration
}

// Info returns what the credential is now.
func (c *Client) Info() Info {
	doc := c.keep.document()
	return Info{
		Server: doc.Server, Name: doc.Name, Audience: doc.Audience, URLs: c.routes.all(),
		Credential: doc.Current.ID, Created: doc.Current.Created,
		Rotating: doc.Next != nil || doc.Former != nil, Difference: c.difference(),
	}
}

// Register implements [registry.Registry]. The name is that of the enrollment: another is ErrDenied.
func (c *Client) Register(ctx context.Context, r registry.Registration) (registry.Registered, error) {
	var answer registered
	q := question{op: "register", path: "/node-heartbeat/register", take: func(body []byte) (err error) {
		answer, err = decode(body, func(a *registered) error { return checkRegistered(&a.Registered, c.keep.document().Server) })
		return err
	}}
	err := c.ask(ctx, &q, r)
	if q.sent {
		c.mu.Lock()
		c.late = c.cfg.Now().Add(lateWindow)
		c.mu.Unlock()
	}
	if err != nil {
		return registry.Registered{}, err
	}
	c.keys.learn(ctx, answer.ControlKeys)
	return answer.Registered, nil
}

// ask is a call whose error is nil, or an [*Error].
func (c *Client) ask(ctx context.Context, q *question, body any) error {
	if err := c.call(ctx, q, body); err != nil {
		return err
	}
	return nil
}

// Heartbeat implements [registry.Registry].
func (c *Client) Heartbeat(ctx context.Context, h registry.Heartbeat) (registry.Answer, error) {
	var answer heartbeatAnswer
	q := question{op: "heartbeat", path: "/node-heartbeat", take: func(body []byte) (err error) {
		answer, err = decode(body, func(a *heartbeatAnswer) error { return a.check(h.Released) })
		return err
	}}
	if err := c.ask(ctx, &q, h); err != nil {
		return registry.Answer{}, c.explain(err)
	}
	c.keys.learn(ctx, answer.ControlKeys)
	return answer.Answer, nil
}

// explain tells a node that was superseded by a registration of its own, which it had given up, to register again.
func (c *Client) explain(err error) error {
	if !errors.Is(err, registry.ErrSuperseded) {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	until := c.late
	c.late = time.Time{} // the next time it is another's
	if now := c.cfg.Now(); !now.Before(until) || until.Sub(now) > lateWindow {
		return err
	}
	return &Error{Op: "heartbeat", Err: fmt.Errorf("%w: a registration of this node's own has arrived late", registry.ErrUnknownServer)}
}

// Drain implements [registry.Registry].
func (c *Client) Drain(ctx context.Context, server registry.ID, draining bool) error {
	return c.ask(ctx, &question{op: "drain", path: "/node-heartbeat/drain", take: takeObject}, struct {
		Server   registry.ID `json:"server"`
		Draining bool        `json:"draining"`
	}{server, draining})
}

// Deregister implements [registry.Registry].
func (c *Client) Deregister(ctx context.Context, server registry.ID) error {
	return c.ask(ctx, &question{op: "deregister", path: "/node-heartbeat/deregister", take: takeObject}, struct {
		Server registry.ID `json:"server"`
	}{server})
}

// ReportUsage implements [registry.Registry].
func (c *Client) ReportUsage(ctx context.Context, r registry.UsageReport) (registry.UsageReceipt, error) {
	var receipt registry.UsageReceipt
	q := question{op: "report usage", path: "/usage-report", take: func(body []byte) (err error) {
		receipt, err = decode(body, func(u *registry.UsageReceipt) error {
			if u.Sequence < r.Sequence {
				return fmt.Errorf("report %d was taken, it says, up to %d", r.Sequence, u.Sequence)
			}
			return nil
		})
		return err
	}}
	if err := c.ask(ctx, &q, r); err != nil {
		return registry.UsageReceipt{}, err
	}
	return receipt, nil
}

// registered is the answer to a registration.
type registered struct {
	registry.Registered
	ControlKeys json.RawMessage `json:"control_keys"`
}

// checkRegistered holds an answer to what it must be, for a server if that is known.
func checkRegistered(r *registry.Registered, server registry.ID) error {
	if err := r.Server.Validate(); err != nil {
		return fmt.Errorf("server: %w", err)
	}
	if server != "" && r.Server != server {
		return fmt.Errorf("it is of server %s, and this one is %s", r.Server, server)
	}
	if r.Incarnation < 1 || r.UsageSequence < 0 {
		return fmt.Errorf("incarnation %d, usage_sequence %d", r.Incarnation, r.UsageSequence)
	}
	return nil
}

// heartbeatAnswer is the answer to a heartbeat.
type heartbeatAnswer struct {
	registry.Answer
	ControlKeys json.RawMessage `json:"control_keys"`
}

// maxInterval is the longest that may be between two heartbeats, in seconds.
const maxInterval = 3600

// check holds it to what it must be after a release that was carried out. What releases say is done, so nothing of it is guessed.
func (a *heartbeatAnswer) check(released int64) error {
	if a.Now.IsZero() || a.Interval < 0 || a.Interval > maxInterval || len(a.Releases) > registry.MaxReleases {
		return fmt.Errorf("now %v, interval %d, %d releases", a.Now, a.Interval, len(a.Releases))
	}
	for _, r := range a.Releases {
		if r.Sequence <= released || r.Generation < 1 || r.PublicKey == (registry.Key{}) {
			return fmt.Errorf("release %d of generation %d after release %d", r.Sequence, r.Generation, released)
		}
		if err := r.Session.Validate(); err != nil {
			return fmt.Errorf("release %d: session: %w", r.Sequence, err)
		}
		released = r.Sequence
	}
	return nil
}

// takeObject takes an answer that says nothing.
func takeObject(body []byte) error {
	_, err := decode(body, func(m *map[string]json.RawMessage) error {
		if *m == nil {
			return errors.New("it is no object")
		}
		return nil
	})
	return err
}
