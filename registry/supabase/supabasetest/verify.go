package supabasetest

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/waylume/waylume/registry"
)

const (
	maxBody  = 1 << 20
	skew     = 5 * time.Second
	lifetime = 60 * time.Second
)

// claims are those of a token, each of which must be there.
type claims struct {
	Subject  *registry.ID `json:"sub"`
	Audience *string      `json:"aud"`
	IssuedAt *int64       `json:"iat"`
	Expires  *int64       `json:"exp"`
	ID       *string      `json:"jti"`
	Method   *string      `json:"htm"`
	Path     *string      `json:"path"`
	Query    *string      `json:"query"`
	Digest   *string      `json:"digest"`
	Scope    *string      `json:"scope"`
}

// recognise returns the credential that has signed a request.
func (f *Fleet) recognise(r *http.Request, path string, body []byte) (*credential, *problem) {
	raw, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		return nil, denied("there is no token")
	}
	parts := strings.Split(raw, ".")
	if len(parts) != 3 || len(raw) > 8192 {
		return nil, denied("the token has not three parts")
	}
	var header struct {
		Alg string `json:"alg"`
		Kid string `json:"kid"`
		Typ string `json:"typ"`
	}
	var c claims
	signature, err := base64.RawURLEncoding.Strict().DecodeString(parts[2])
	if err := errors.Join(err, part(parts[0], &header), part(parts[1], &c)); err != nil {
		return nil, denied("the token cannot be read: %v", err)
	}
	if header.Alg != "EdDSA" || header.Typ != "JWT" {
		return nil, denied("the token's header is not that of a node")
	}
	now := f.cfg.Now()
	f.mu.Lock()
	defer f.mu.Unlock()
	who := f.credentials[header.Kid]
	if who == nil || !who.good(now) {
		return nil, denied("no credential that counts has the id %q", header.Kid)
	}
	if !ed25519.Verify(who.public, []byte(parts[0]+"."+parts[1]), signature) {
		return nil, denied("the signature is not of the credential")
	}
	if refused := f.check(&c, who, path, body, now); refused != nil {
		return nil, refused
	}
	for key, until := range f.used {
		if now.After(until) {
			delete(f.used, key)
		}
	}
	key := who.id + " " + *c.ID
	if _, ok := f.used[key]; ok {
		return nil, denied("the token was used before: sign each request anew")
	}
	f.used[key] = time.Unix(*c.Expires, 0).Add(skew)
	if who.former != nil { // the node has the new one
		who.former.revoked = true
		who.former = nil
	}
	return who, nil
}

// check holds claims to a request, and to the time last.
func (f *Fleet) check(c *claims, who *credential, path string, body []byte, now time.Time) *problem {
	digest := sha256.Sum256(body)
	want := base64.RawURLEncoding.EncodeToString(digest[:])
	method, query, scope := http.MethodPost, "", "node"
	for _, text := range []struct {
		name     string
		is, want *string
	}{
		{"sub", (*string)(c.Subject), (*string)(&who.server)}, {"aud", c.Audience, &f.cfg.Audience}, {"htm", c.Method, &method},
		{"path", c.Path, &path}, {"query", c.Query, &query}, {"digest", c.Digest, &want}, {"scope", c.Scope, &scope},
	} {
		if text.is == nil || *text.is != *text.want {
			return denied("the token's %s is not %q", text.name, *text.want)
		}
	}
	if c.ID == nil || c.IssuedAt == nil || c.Expires == nil {
		return denied("the token lacks jti, iat or exp")
	}
	if id, err := base64.RawURLEncoding.Strict().DecodeString(*c.ID); err != nil || len(id) != 16 {
		return denied("jti is not 16 bytes in base64url")
	}
	iat, exp := time.Unix(*c.IssuedAt, 0), time.Unix(*c.Expires, 0)
	switch {
	case !exp.After(iat) || exp.Sub(iat) > lifetime:
		return denied("the token is good for %v", exp.Sub(iat))
	case iat.After(now.Add(skew)), now.After(exp.Add(skew)):
		return &problem{
			Type: "clock", Status: http.StatusUnauthorized,
			Detail: fmt.Sprintf("the token is good from %v to %v by the fleet's clock, which says 0", iat.Sub(now), exp.Sub(now)),
		}
	}
	return nil
}

// part reads one part of a token, strictly.
func part(text string, into any) error {
	data, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil {
		return err
	}
	return strictly(data, into)
}

// strictly reads one JSON value that has no unknown members.
func strictly(data []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows")
	}
	return nil
}

func readBody(r *http.Request) ([]byte, *problem) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	if err != nil {
		return nil, invalid(http.StatusBadRequest, "the body did not come whole")
	}
	if len(body) > maxBody {
		return nil, invalid(http.StatusRequestEntityTooLarge, fmt.Sprintf("the body has more than %d bytes", maxBody))
	}
	return body, nil
}
