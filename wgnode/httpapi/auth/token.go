package auth

import (
	"bytes"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/waylume/waylume/wgnode/httpapi/auth/internal/replay"
	"github.com/waylume/waylume/wgnode/httpapi/auth/sign"
	"github.com/waylume/waylume/wgnode/httpapi/problem"
)

// maxToken is the greatest length of a token, in bytes.
const maxToken = 8 << 10

// unverified is a token that has been taken apart, and not been checked in any way.
type unverified struct {
	kid, alg  string
	text      string // what is signed
	signature []byte
	payload   payload
}

// parseToken takes a token apart (RFC 7515, section 3.1): three parts in base64url without padding, a header with alg and kid,
// and typ at most beside them, and the claims.
func parseToken(raw string) (unverified, error) {
	if len(raw) > maxToken {
		return unverified{}, fmt.Errorf("it has %d bytes: at most %d are taken", len(raw), maxToken)
	}
	// base64 as Go reads it skips line breaks.
	if strings.ContainsAny(raw, "\r\n") {
		return unverified{}, errors.New("it has a line break")
	}
	var p payload
	token, parts, err := jwt.NewParser(jwt.WithStrictDecoding()).ParseUnverified(raw, &p)
	if errors.Is(err, errClaims) {
		return unverified{}, err
	}
	if token == nil || token.Header == nil || err != nil && !errors.Is(err, jwt.ErrTokenUnverifiable) {
		return unverified{},
			errors.New("it is no JSON Web Token: three parts in base64url, a header and claims in JSON, and a signature")
	}
	if !p.read {
		return unverified{}, fmt.Errorf("%w: they are no JSON object", errClaims)
	}
	for name := range token.Header {
		if name != "alg" && name != "kid" && name != "typ" {
			return unverified{}, fmt.Errorf("its header has %.40q: it may have alg, kid and typ alone", name)
		}
	}
	u := unverified{text: parts[0] + "." + parts[1], payload: p, signature: token.Signature}
	u.kid, _ = token.Header["kid"].(string)
	u.alg, _ = token.Header["alg"].(string)
	typ, isText := token.Header["typ"].(string)
	if _, has := token.Header["typ"]; has && (!isText || !strings.EqualFold(typ, "JWT")) {
		return unverified{}, errors.New("its header's typ is not JWT: leave it out, or make it so")
	}
	if u.kid == "" || len(u.kid) > sign.MaxKeyID || u.alg == "" {
		return unverified{}, fmt.Errorf("its header has no kid of 1 to %d bytes, or no alg", sign.MaxKeyID)
	}
	return u, nil
}

// token recognises a request by its token. It returns the body, which it has read.
func (a *Authenticator) token(r *http.Request, p *policy, raw string) (Principal, []byte, *refusal) {
	now := a.cfg.Now()
	u, err := parseToken(raw)
	if err != nil {
		return Principal{}, nil, denied(Malformed, "the token cannot be read: %v", err)
	}
	key, refused := p.find(r.Context(), u.kid, now)
	if refused != nil {
		return Principal{}, nil, refused
	}
	if u.alg != key.Algorithm() {
		return Principal{}, nil, denied(WrongAlgorithm, "the token's alg is not its key's, which is %s", key.Algorithm())
	}
	if err := key.Verify(u.text, u.signature); err != nil {
		return Principal{}, nil, denied(WrongSignature, "the token's signature is not of the key that its kid names")
	}
	body, refused := a.bound(r, p, &u.payload, now)
	if refused != nil {
		return Principal{}, nil, refused.by(u.kid)
	}
	granted := u.payload.granted(key.scopes)
	if len(granted) == 0 {
		return Principal{}, nil, forbidden(MissingScope, "the key may give %s, and the token asks for %.200q",
			key.scopes, u.payload.Scope).
			by(u.kid)
	}
	if refused := a.use(u.kid, &u.payload); refused != nil {
		return Principal{}, nil, refused.by(u.kid)
	}
	return Principal{Name: u.payload.Subject, Method: MethodJWT, KeyID: u.kid, Scopes: granted}, body, nil
}

// bound holds claims to the request, and to the time.
func (a *Authenticator) bound(r *http.Request, p *policy, claims *payload, now time.Time) ([]byte, *refusal) {
	if err := claims.check(); err != nil {
		return nil, denied(WrongClaims, "%v", err)
	}
	if claims.Audience != p.audience {
		return nil, denied(WrongAudience, "the token is for %.128q (aud), and this node is %q", claims.Audience,
			p.audience)
	}
	if refused := a.inTime(claims, now.Unix()); refused != nil {
		return nil, refused
	}
	path, rawQuery := target(r)
	query, err := sign.Query(rawQuery)
	if err != nil {
		return nil, denied(Malformed, "%v", err)
	}
	for _, c := range []struct{ claim, says, is string }{
		{"htm", claims.Method, r.Method}, {"path", claims.Path, path}, {"query", claims.Query, query},
	} {
		if c.says != c.is {
			return nil, denied(WrongRequest, "the token is for another request: %s is %.200q, and this one's is %.200q",
				c.claim, c.says, c.is)
		}
	}
	body, refused := a.readBody(r)
	if refused != nil {
		return nil, refused
	}
	if subtle.ConstantTimeCompare([]byte(claims.Digest), []byte(sign.Digest(body))) != 1 {
		return nil, denied(WrongBody, "the token is for another body: its digest is not that of the %d bytes that came",
			len(body))
	}
	return body, nil
}

// inTime holds a token's times to the clock's, in seconds.
func (a *Authenticator) inTime(claims *payload, now int64) *refusal {
	iat, exp, skew := claims.IssuedAt, claims.Expires, int64(a.cfg.Skew/time.Second)
	switch lifetime := exp - iat; {
	case lifetime <= 0 || lifetime > int64(sign.MaxLifetime/time.Second):
		return denied(WrongTime, "the token is good for %d s (exp less iat): make it 1 to 60 s", lifetime)
	case iat > now+skew:
		return denied(WrongTime, "the token is of the future: iat is %d s ahead of this node's clock: set the clocks",
			iat-now)
	case now > exp+skew:
		return denied(WrongTime,
			"the token expired %d s ago by this node's clock: sign each request when it is sent, and set the clocks",
			now-exp)
	case iat <= a.floor:
		refused := unavailable(Starting,
			"the node has started just now, and does not know which tokens were used before: sign the request anew", nil)
		refused.retry = time.Duration(max(a.floor+1-now, 1)) * time.Second
		return refused
	}
	return nil
}

// use marks a token as used.
func (a *Authenticator) use(kid string, claims *payload) *refusal {
	until := claims.Expires + int64(a.cfg.Skew/time.Second)
	switch err := a.used.Use(replay.Of(kid, claims.ID), a.cfg.Now(), until); {
	case err == nil:
		return nil
	case errors.Is(err, replay.ErrUsed):
		return denied(Replayed, "the token was used before (jti): sign each request anew")
	case errors.Is(err, replay.ErrExpired):
		return denied(WrongTime, "the token has expired by the latest time that the node has seen: sign each request when it is sent")
	case errors.Is(err, replay.ErrFull):
		return unavailable(TooManyTokens, "the node remembers as many tokens as it may: try again later, with a new one", err)
	default:
		return unavailable(TokensUnwritten,
			"the node cannot write down that the token is used: its log says why; try again later, with a new one", err)
	}
}

// target returns the path and the query of a request, byte for byte as they were sent, whatever has been taken off the URL since.
func target(r *http.Request) (path, query string) {
	if strings.HasPrefix(r.RequestURI, "/") {
		path, query, _ = strings.Cut(r.RequestURI, "?")
		return path, query
	}
	// The absolute form (RFC 9112, section 3.2.2), or a request that came through no server.
	u := r.URL
	if sent, err := url.ParseRequestURI(r.RequestURI); err == nil {
		u = sent
	}
	if path = u.EscapedPath(); path == "" {
		path = "/"
	}
	return path, u.RawQuery
}

// readBody reads a body whole, within the bound.
func (a *Authenticator) readBody(r *http.Request) ([]byte, *refusal) {
	if r.Body == nil || r.Body == http.NoBody {
		return nil, nil
	}
	tooLarge := &refusal{reason: BodyTooLarge, problem: problem.New(http.StatusRequestEntityTooLarge, problem.TooLarge,
		fmt.Sprintf("the body has more than %d bytes: split the request", a.cfg.MaxBody))}
	if r.ContentLength > a.cfg.MaxBody {
		return nil, tooLarge
	}
	var buf bytes.Buffer
	n, err := io.Copy(&buf, io.LimitReader(r.Body, a.cfg.MaxBody+1))
	switch {
	case err != nil:
		return nil, &refusal{reason: BodyUnread, problem: problem.New(http.StatusBadRequest, problem.Malformed,
			"the body did not come whole: send it again, with a new token").Because(err)}
	case n > a.cfg.MaxBody:
		return nil, tooLarge
	}
	return buf.Bytes(), nil
}
