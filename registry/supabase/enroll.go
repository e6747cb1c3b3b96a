package supabase

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/waylume/waylume/registry"
)

// tokenSize is how many random bytes an enrollment token has.
const tokenSize = 32

// EnrollConfig says how a node is enrolled. Of Config, URLs are required, too.
type EnrollConfig struct {
	Config
	// Token is the one that whoever runs the fleet has made for this node. It is neither kept nor logged.
	Token string
	// Registration is what the node says of itself.
	Registration registry.Registration
}

// publicCredential is a credential as the wire has it.
type publicCredential struct {
	PublicKey string `json:"public_key"`
}

// enrolled is the answer to an enrollment.
type enrolled struct {
	Registered  registry.Registered `json:"registered"`
	Credential  string              `json:"credential"`
	Audience    string              `json:"audience"`
	URLs        []string            `json:"urls"`
	ControlKeys json.RawMessage     `json:"control_keys"`
}

// Enroll makes a key, has the fleet make it this node's credential, and writes that to Config.CredentialFile. The key is in the file
// before the fleet is asked, so that after an answer that was lost, or a process that was killed, the same call gets what the first
// one was to get, while the token lives. What the fleet refuses leaves the key there; another token has another key.
//
// Errors: [ErrEnrolled] when the file has a credential; [ErrExposed], [ErrCorrupt], [ErrOtherFleet] of the file;
// registry.ErrDenied when the token is not good, or not for this name, pool or region; registry.ErrNameTaken, ErrConflict, ErrInvalid,
// ErrUnavailable.
func Enroll(ctx context.Context, cfg EnrollConfig) (registry.Registered, error) {
	err := cfg.complete()
	if len(cfg.URLs) == 0 && err == nil {
		err = errors.New("URLs is empty: give the URL of the fleet's functions")
	}
	if token, bad := base64.RawURLEncoding.Strict().DecodeString(cfg.Token); bad != nil || len(token) != tokenSize ||
		strings.ContainsAny(cfg.Token, "\r\n") {
		err = errors.Join(err, errors.New("Token is no enrollment token, which has 43 characters in base64url"))
	}
	if err != nil {
		return registry.Registered{}, fmt.Errorf("fleet: %w", err)
	}
	keys, err := openKeys(&cfg.Config)
	if err != nil {
		return registry.Registered{}, fmt.Errorf("fleet: %w", err)
	}
	waiting, err := cfg.pending()
	if err != nil {
		return registry.Registered{}, fmt.Errorf("fleet: %w", err)
	}
	var c caller
	if err := c.init(cfg.Config, cfg.URLs, nil); err != nil {
		return registry.Registered{}, fmt.Errorf("fleet: %w", err)
	}
	defer c.close()
	var answer enrolled
	q := question{op: "enroll", path: "/node-enroll", take: func(body []byte) (err error) {
		answer, err = decode(body, func(e *enrolled) error { return e.check(&cfg.Config) })
		return err
	}}
	if err := c.call(ctx, &q, struct {
		Token        string                `json:"token"`
		Credential   publicCredential      `json:"credential"`
		Registration registry.Registration `json:"registration"`
	}{cfg.Token, publicCredential{waiting.public()}, cfg.Registration}); err != nil {
		return registry.Registered{}, err
	}
	if cfg.Audience != "" && answer.Audience != cfg.Audience {
		return registry.Registered{}, fmt.Errorf("fleet: %w: its audience is %q, and the configuration's is %q", ErrOtherFleet,
			answer.Audience, cfg.Audience)
	}
	if err := cfg.keep(&answer, waiting); err != nil {
		return registry.Registered{}, fmt.Errorf("fleet: the node is enrolled, and its credential not written: enroll again, with the same token: %w",
			err)
	}
	keys.learn(ctx, answer.ControlKeys)
	return answer.Registered, nil
}

// pending returns the key that a token is, or was, sent with. It is in the file then.
func (cfg *EnrollConfig) pending() (*pending, error) {
	sum := sha256.Sum256([]byte(cfg.Token))
	doc, _, err := readDocument(cfg.CredentialFile)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, err
	case doc.Pending == nil:
		return nil, fmt.Errorf("%w: %s has the credential of %s: to enroll anew, move that file away", ErrEnrolled, cfg.CredentialFile,
			doc.Name)
	default:
		if _, err := doc.reach(&Config{URLs: cfg.URLs}); err != nil {
			return nil, fmt.Errorf("%s, which has a key that no answer came for: %w: or delete it", cfg.CredentialFile, err)
		}
		if bytes.Equal(doc.Pending.TokenSHA256, sum[:]) {
			return doc.Pending, nil
		}
		// Another token has another key: the fleet may know the first, under an id that nobody will ever be told.
	}
	key, err := newCredential(cfg.Now())
	if err != nil {
		return nil, err
	}
	waiting := &pending{credential: *key, TokenSHA256: sum[:]}
	text, err := (&document{Version: documentVersion, URLs: cfg.URLs, Pending: waiting}).encode()
	if err != nil {
		return nil, err
	}
	return waiting, writeFile(cfg.CredentialFile, text)
}

// keep writes the credential that a fleet has given.
func (cfg *EnrollConfig) keep(answer *enrolled, waiting *pending) error {
	key := waiting.credential
	key.ID = answer.Credential
	urls := answer.URLs
	if len(urls) == 0 {
		urls = cfg.URLs
	}
	text, err := (&document{
		Version: documentVersion, Audience: answer.Audience, URLs: urls, Server: answer.Registered.Server,
		Name: cfg.Registration.Name, Current: &key,
	}).encode()
	if err != nil {
		return err
	}
	return writeFile(cfg.CredentialFile, text)
}

// check holds the answer to what it must be.
func (e *enrolled) check(cfg *Config) error {
	if err := errors.Join(checkRegistered(&e.Registered, ""), checkID(e.Credential)); err != nil {
		return err
	}
	if e.Audience == "" || len(e.Audience) > maxIDLen {
		return fmt.Errorf("its audience has %d bytes: 1 to %d", len(e.Audience), maxIDLen)
	}
	if len(e.URLs) > maxURLs {
		return fmt.Errorf("it has %d URLs: %d at most", len(e.URLs), maxURLs)
	}
	for i, text := range e.URLs {
		u, err := cfg.parseURL(text)
		if err != nil {
			return fmt.Errorf("urls[%d]: %w", i, err)
		}
		e.URLs[i] = u
	}
	return nil
}
