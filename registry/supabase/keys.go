package supabase

import (
	"bytes"
	"context"
	"crypto/ecdh"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"sync"
)

const (
	// maxKeySet is the most that a file of ours has, in bytes.
	maxKeySet = 256 << 10
	// maxKeys is the most keys that a set may have.
	maxKeys = 64
	// coordinateSize is the size of a public key of Ed25519, and of a coordinate of P-256, in bytes.
	coordinateSize = 32
)

// publicKey is a key of a set, with what makes it and names it, and no more.
type publicKey struct {
	KeyType string   `json:"kty"`
	Curve   string   `json:"crv"`
	X       string   `json:"x"`
	Y       string   `json:"y,omitempty"`
	ID      string   `json:"kid"`
	Alg     string   `json:"alg,omitempty"`
	Use     string   `json:"use,omitempty"`
	Ops     []string `json:"key_ops,omitempty"`
}

// parseKeys reads the control keys of a fleet, a JWK Set (RFC 7517) of public keys of Ed25519 and P-256, and returns it in the form in
// which it is kept. The error matches [ErrKeys]. Keys of other kinds are left out. Secrets and private keys are errors: whoever
// publishes one has to make a new one.
func parseKeys(data []byte) ([]byte, error) {
	var set struct {
		Keys *[]struct {
			publicKey
			D json.RawMessage `json:"d"`
			K json.RawMessage `json:"k"`
		} `json:"keys"`
	}
	if len(data) > maxKeySet || json.Unmarshal(data, &set) != nil || set.Keys == nil || len(*set.Keys) > maxKeys {
		return nil, fmt.Errorf("%w: they are no JWK Set of up to %d keys", ErrKeys, maxKeys)
	}
	kept := struct {
		Keys []publicKey `json:"keys"`
	}{Keys: []publicKey{}}
	for i, k := range *set.Keys {
		if k.D != nil || k.K != nil || k.KeyType == "oct" {
			return nil, fmt.Errorf("%w: key %d is a private key or a secret: publish the public key alone, of a new one", ErrKeys, i+1)
		}
		if k.Use != "" && k.Use != "sig" || len(k.Ops) > 0 && !slices.Contains(k.Ops, "verify") {
			continue
		}
		switch k.KeyType + " " + k.Curve {
		case "OKP Ed25519", "EC P-256":
		default:
			continue
		}
		if err := k.check(); err != nil {
			return nil, fmt.Errorf("%w: key %d: %w", ErrKeys, i+1, err)
		}
		for _, other := range kept.Keys {
			if other.ID == k.ID || other.X == k.X && other.Y == k.Y {
				return nil, fmt.Errorf("%w: key %d has the id of another, or is another: one id has one key", ErrKeys, i+1)
			}
		}
		kept.Keys = append(kept.Keys, k.publicKey)
	}
	text, err := json.MarshalIndent(kept, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKeys, err)
	}
	return append(text, '\n'), nil
}

// check holds a key to what whoever reads the file takes.
func (k *publicKey) check() error {
	if err := checkID(k.ID); err != nil {
		return errors.New("its kid has other than 1 to 128 visible ASCII characters")
	}
	x, err := coordinate(k.X)
	if err != nil {
		return fmt.Errorf("x: %w", err)
	}
	if k.KeyType == "OKP" {
		if k.Alg != "" && k.Alg != "EdDSA" && k.Alg != "Ed25519" {
			return errors.New("its alg is not that of Ed25519")
		}
		if k.Y != "" {
			return errors.New("a key of Ed25519 has no y")
		}
		return nil
	}
	if k.Alg != "" && k.Alg != "ES256" {
		return errors.New("its alg is not that of P-256")
	}
	y, err := coordinate(k.Y)
	if err != nil {
		return fmt.Errorf("y: %w", err)
	}
	if _, err := ecdh.P256().NewPublicKey(slices.Concat([]byte{4}, x, y)); err != nil { // SEC 1, section 2.3.3
		return errors.New("it is no point of P-256")
	}
	return nil
}

func coordinate(text string) ([]byte, error) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(b) != coordinateSize {
		return nil, fmt.Errorf("it is not %d bytes in base64url", coordinateSize)
	}
	return b, nil
}

// keyKeeper has control keys in a file, and tells of them.
type keyKeeper struct {
	path   string
	notify func(ctx context.Context, jwks []byte) error
	logger *slog.Logger

	mu sync.Mutex
	// known are the keys that the file has, and that were told of; wanted those that came last.
	known, wanted []byte
	// telling: somebody is at it, and goes on until known is what is wanted.
	telling bool
}

// openKeys reads what keys there are: those the caller has, too.
func openKeys(cfg *Config) (*keyKeeper, error) {
	k := &keyKeeper{path: cfg.ControlKeysFile, notify: cfg.OnControlKeys, logger: cfg.Logger}
	if k.path == "" {
		return k, nil
	}
	data, err := readFile(k.path, func(string, fs.FileMode) error { return nil }) // public keys
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fileError("read", k.path, err)
	}
	k.known = data
	return k, nil
}

// learn has keys of an answer be those that count; an answer without any says nothing. What goes wrong is logged, and tried again when
// the keys come again: the answer is a good one all the same.
func (k *keyKeeper) learn(ctx context.Context, raw json.RawMessage) {
	if len(raw) == 0 || string(raw) == "null" {
		return
	}
	text, err := parseKeys(raw)
	if err != nil {
		k.failed(ctx, err)
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.wanted = text
	if k.telling {
		return
	}
	k.telling = true
	defer func() { k.telling = false }()
	for !bytes.Equal(k.known, k.wanted) {
		if !k.tellLocked(ctx, k.wanted) {
			return
		}
	}
}

// tellLocked writes keys to the file and tells of them. It gives the mutex away meanwhile.
func (k *keyKeeper) tellLocked(ctx context.Context, text []byte) bool {
	err := func() error {
		k.mu.Unlock()
		defer k.mu.Lock()
		return k.tell(ctx, text)
	}()
	if err != nil {
		k.failed(ctx, err)
		return false
	}
	k.known = text
	k.logger.InfoContext(ctx, "control keys changed", "file", k.path)
	return true
}

func (k *keyKeeper) tell(ctx context.Context, text []byte) error {
	if k.path != "" {
		if err := writeFile(k.path, text); err != nil {
			return err
		}
	}
	if k.notify != nil {
		return k.notify(ctx, text)
	}
	return nil
}

func (k *keyKeeper) failed(ctx context.Context, err error) {
	k.logger.ErrorContext(ctx, "control keys not taken over: those before count", "error", err)
}
