package supabase

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/waylume/waylume/registry"
)

const (
	// documentVersion is that of the file of a credential.
	documentVersion = 1
	// maxDocument is the most that is read of it, in bytes.
	maxDocument = 64 << 10
	// maxIDLen is the greatest length of a credential's id, in bytes.
	maxIDLen = 128
	// maxURLs is how many base URLs a fleet may have.
	maxURLs = 16
)

// document is the file of a credential. It is in one of these states; each change is one replacement of the file:
//
//	pending                      a key was made, and sent with a token or not: the fleet may know it
//	current                      the node is enrolled
//	current, next (without id)   a key was made to take the place of current, and sent or not
//	current, former              the key in current has an id; nobody knows that it counts, and former does until then
//
// Next beside former is a rotation that began before the one before it was through.
type document struct {
	Version  int         `json:"version"`
	Audience string      `json:"audience,omitempty"`
	URLs     []string    `json:"urls"`
	Server   registry.ID `json:"server,omitempty"`
	Name     string      `json:"name,omitempty"`
	Pending  *pending    `json:"pending,omitempty"`
	Current  *credential `json:"current,omitempty"`
	Next     *credential `json:"next,omitempty"`
	Former   *credential `json:"former,omitempty"`
}

// pending is a key that a token was, or is to be, given for.
type pending struct {
	credential
	// TokenSHA256 tells the token, which is not kept.
	TokenSHA256 []byte `json:"token_sha256"`
}

// credential is a key that signs, and the id that the fleet gave it; none yet if it is empty.
type credential struct {
	ID      string    `json:"id,omitempty"`
	Seed    seed      `json:"private_key"`
	Created time.Time `json:"created"`
}

// seed is an Ed25519 private key as RFC 8032 has it, 32 bytes, which are written in base64url without padding. What prints it does
// not show it.
type seed []byte

// String hides it.
func (seed) String() string { return "[hidden]" }

// GoString hides it.
func (seed) GoString() string { return "[hidden]" }

// MarshalText writes it for the file.
func (s seed) MarshalText() ([]byte, error) {
	return []byte(base64.RawURLEncoding.EncodeToString(s)), nil
}

// UnmarshalText reads it.
func (s *seed) UnmarshalText(text []byte) error {
	b, err := base64.RawURLEncoding.Strict().DecodeString(string(text))
	if err != nil || len(b) != ed25519.SeedSize || bytes.ContainsAny(text, "\r\n") {
		return errors.New("a private key is 32 bytes in base64url")
	}
	*s = b
	return nil
}

// newCredential makes a key.
func newCredential(now time.Time) (*credential, error) {
	b := make([]byte, ed25519.SeedSize)
	if _, err := rand.Read(b); err != nil {
		return nil, fmt.Errorf("random bytes for a key: %w", err)
	}
	return &credential{Seed: b, Created: now.UTC().Truncate(time.Second)}, nil
}

// public is the public key as the wire has it.
func (c *credential) public() string {
	key, _ := ed25519.NewKeyFromSeed(c.Seed).Public().(ed25519.PublicKey)
	return base64.RawURLEncoding.EncodeToString(key)
}

// parseDocument reads the file of a credential. The error matches [ErrCorrupt], and has nothing of what was read.
func parseDocument(data []byte) (document, error) {
	var d document
	if len(data) > maxDocument {
		return document{}, fmt.Errorf("%w: it has more than %d bytes", ErrCorrupt, maxDocument)
	}
	if len(bytes.TrimSpace(data)) == 0 {
		return document{}, fmt.Errorf("%w: it is empty: put it back from a backup, or delete it and enroll anew", ErrCorrupt)
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	err := decoder.Decode(&d)
	if d.Version > documentVersion {
		return document{}, fmt.Errorf("%w of this version: a later one has written it, as version %d", ErrCorrupt, d.Version)
	}
	if err == nil {
		_, more := decoder.Token()
		if !errors.Is(more, io.EOF) {
			err = errors.New("something follows")
		}
	}
	if err != nil {
		return document{}, fmt.Errorf("%w: it is not what an enrollment writes: put it back from a backup, or delete it and enroll anew",
			ErrCorrupt)
	}
	if err := d.check(); err != nil {
		return document{}, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return d, nil
}

// check holds a document to one of its states.
func (d *document) check() error {
	if d.Version != documentVersion {
		return fmt.Errorf("its version is %d, not %d", d.Version, documentVersion)
	}
	if len(d.URLs) == 0 || len(d.URLs) > maxURLs {
		return fmt.Errorf("it has %d URLs: 1 to %d", len(d.URLs), maxURLs)
	}
	for _, u := range d.URLs {
		if _, err := parseURL(u, true); err != nil {
			return err
		}
	}
	if d.Pending != nil {
		if d.Current != nil || d.Next != nil || d.Former != nil {
			return errors.New("it is pending and enrolled at once")
		}
		return d.Pending.check(false)
	}
	if d.Current == nil {
		return errors.New("it has no key")
	}
	if err := d.Server.Validate(); err != nil {
		return fmt.Errorf("server: %w", err)
	}
	if d.Audience == "" || len(d.Audience) > maxIDLen {
		return fmt.Errorf("its audience has %d bytes: 1 to %d", len(d.Audience), maxIDLen)
	}
	for _, c := range []struct {
		key  *credential
		name string
		id   bool
	}{{d.Current, "current", true}, {d.Next, "next", false}, {d.Former, "former", true}} {
		if c.key == nil {
			continue
		}
		if err := c.key.check(c.id); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
	}
	return nil
}

func (c *credential) check(id bool) error {
	if len(c.Seed) != ed25519.SeedSize {
		return errors.New("it has no private key")
	}
	if id {
		return checkID(c.ID)
	}
	if c.ID != "" {
		return errors.New("it has an id, and was not answered")
	}
	return nil
}

// checkID holds a credential's id to what a kid may be.
func checkID(id string) error {
	if id == "" || len(id) > maxIDLen {
		return fmt.Errorf("a credential's id has %d bytes: 1 to %d", len(id), maxIDLen)
	}
	for _, c := range []byte(id) {
		if c <= ' ' || c > '~' {
			return errors.New("a credential's id has other than visible ASCII characters")
		}
	}
	return nil
}
