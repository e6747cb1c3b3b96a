package supabasetest

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"time"

	"github.com/waylume/waylume/registry"
)

// overlap is how long a credential counts whose place another is to take.
const overlap = 24 * time.Hour

type publicCredential struct {
	PublicKey string `json:"public_key"`
}

type enrolled struct {
	Registered  registry.Registered `json:"registered"`
	Credential  string              `json:"credential"`
	Audience    string              `json:"audience"`
	ControlKeys json.RawMessage     `json:"control_keys"`
	URLs        []string            `json:"urls"`
}

func (p publicCredential) key() (ed25519.PublicKey, *problem) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(p.PublicKey)
	if err != nil || len(b) != ed25519.PublicKeySize {
		return nil, invalid(http.StatusBadRequest, "credential.public_key is not 32 bytes in base64url")
	}
	return b, nil
}

func (f *Fleet) enroll(ctx context.Context, body []byte) (any, *problem) {
	var q struct {
		Token        string                `json:"token"`
		Credential   publicCredential      `json:"credential"`
		Registration registry.Registration `json:"registration"`
	}
	if err := strictly(body, &q); err != nil {
		return nil, invalid(http.StatusBadRequest, err.Error())
	}
	public, refused := q.Credential.key()
	if refused != nil {
		return nil, refused
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	t := f.tokens[sha256.Sum256([]byte(q.Token))]
	if refused := t.check(q.Credential.PublicKey, &q.Registration, f.cfg.Now()); refused != nil {
		return nil, refused
	}
	if t.key != "" {
		return t.answer, nil
	}
	if f.known(public) {
		return nil, &problem{Type: "conflict", Status: http.StatusConflict, Detail: "the public key came with another token"}
	}
	registered, err := f.cfg.Registry.Register(ctx, q.Registration)
	if err != nil {
		return nil, of(err)
	}
	for _, c := range f.credentials {
		if c.server == registered.Server {
			c.revoked = true
		}
	}
	c := &credential{id: newID(), public: public, server: registered.Server, name: q.Registration.Name}
	f.credentials[c.id] = c
	t.key = q.Credential.PublicKey
	t.answer = enrolled{
		Registered: registered, Credential: c.id, Audience: f.cfg.Audience, ControlKeys: f.controlKeys, URLs: f.cfg.URLs,
	}
	return t.answer, nil
}

// check holds a token to a registration, which gets what it leaves out.
func (t *token) check(key string, r *registry.Registration, now time.Time) *problem {
	switch {
	case t == nil:
		return denied("the token is not known")
	case t.revoked:
		return denied("the token was revoked")
	case !now.Before(t.expires):
		return denied("the token has expired")
	case t.key != "" && t.key != key:
		return denied("the token was used before")
	}
	for _, fixed := range []struct {
		name string
		is   *string
		want string
	}{{"name", &r.Name, t.Name}, {"pool", &r.Pool, t.Pool}, {"region", &r.Region, t.Region}} {
		if *fixed.is == "" && fixed.name != "name" {
			*fixed.is = fixed.want
		}
		if fixed.want != "" && *fixed.is != fixed.want {
			return forbidden("the token is for the %s %q", fixed.name, fixed.want)
		}
	}
	return nil
}

func (f *Fleet) known(public ed25519.PublicKey) bool {
	for _, c := range f.credentials {
		if c.public.Equal(public) {
			return true
		}
	}
	return false
}

func (f *Fleet) rotate(c *credential, body []byte) (any, *problem) {
	var q struct {
		Credential publicCredential `json:"credential"`
	}
	if err := strictly(body, &q); err != nil {
		return nil, invalid(http.StatusBadRequest, err.Error())
	}
	public, refused := q.Credential.key()
	if refused != nil {
		return nil, refused
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if c.next == nil || !c.next.public.Equal(public) {
		if f.known(public) {
			return nil, &problem{Type: "conflict", Status: http.StatusConflict, Detail: "the public key is another credential's"}
		}
		if c.next != nil {
			c.next.revoked = true
		}
		c.next = &credential{id: newID(), public: public, server: c.server, name: c.name, former: c}
		c.expires = f.cfg.Now().Add(overlap)
		f.credentials[c.next.id] = c.next
	}
	return struct {
		Credential string `json:"credential"`
	}{c.next.id}, nil
}
