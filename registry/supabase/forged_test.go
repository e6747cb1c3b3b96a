package supabase

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/registry"
	"github.com/waylume/waylume/registry/supabase/supabasetest"
)

// forgery is a request that may be wrong in one way.
type forgery struct {
	claims  claims
	header  map[string]any
	key     ed25519.PrivateKey
	method  string
	path    string
	query   string
	body    string
	token   string // instead of one that is signed
	content string
}

// forge sends a request and returns what came back.
func (s *site) forge(f forgery) (status int, kind, detail string) {
	s.Helper()
	if f.token == "" {
		token := jwt.NewWithClaims(jwt.SigningMethodEdDSA, f.claims)
		maps.Copy(token.Header, f.header)
		var err error
		f.token, err = token.SignedString(f.key)
		require.NoError(s, err)
	}
	req, err := http.NewRequestWithContext(s.Context(), f.method, s.url()+f.path+f.query, strings.NewReader(f.body))
	require.NoError(s, err)
	req.Header.Set("Content-Type", f.content)
	req.Header.Set("Authorization", "Bearer "+f.token)
	response, err := s.server.Client().Do(req)
	require.NoError(s, err)
	defer response.Body.Close()
	var problem struct{ Type, Detail string }
	body, err := io.ReadAll(response.Body)
	require.NoError(s, err)
	require.NoError(s, json.Unmarshal(body, &problem))
	return response.StatusCode, strings.TrimPrefix(problem.Type, problemPrefix), problem.Detail
}

// TestForged has the fleet of package supabasetest refuse whatever is not as it must be: what it takes from the client is worth that
// much.
func TestForged(t *testing.T) {
	s := newSite(t)
	n := s.node(s.config())
	stranger, err := Enroll(t.Context(), EnrollConfig{
		Config: s.config(), Token: s.fleet.NewToken(supabasetest.Token{}), Registration: registration("ams-1"),
	})
	require.NoError(t, err)
	require.NoError(t, n.Rotate(t.Context()))
	former := n.keep.document().Former
	require.NoError(t, n.beat(t.Context()))
	current := n.keep.document().Current
	_, other, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	good := func() forgery {
		body := fmt.Sprintf(`{"server":%q,"draining":true}`, n.Server)
		digest := sha256.Sum256([]byte(body))
		id := make([]byte, tokenIDSize)
		_, err := rand.Read(id)
		require.NoError(t, err)
		now := s.clock.Now()
		return forgery{
			claims: claims{
				Subject: n.Server, Audience: "waylume-fleet", Scope: "node", IssuedAt: now.Unix(), Expires: now.Unix() + 30,
				ID: base64.RawURLEncoding.EncodeToString(id), Method: http.MethodPost, Path: "/node-heartbeat/drain",
				Digest: base64.RawURLEncoding.EncodeToString(digest[:]),
			},
			header: map[string]any{"kid": current.ID},
			key:    ed25519.NewKeyFromSeed(current.Seed), method: http.MethodPost, path: "/node-heartbeat/drain", body: body,
			content: "application/json",
		}
	}
	status, _, _ := s.forge(good())
	require.Equal(t, http.StatusOK, status)

	rebody := func(f *forgery, body string) {
		digest := sha256.Sum256([]byte(body))
		f.body, f.claims.Digest = body, base64.RawURLEncoding.EncodeToString(digest[:])
	}
	for name, c := range map[string]struct {
		edit   func(f *forgery)
		status int
		kind   string
	}{
		"no token":                {func(f *forgery) { f.token = " " }, 401, "denied"},
		"no JWT":                  {func(f *forgery) { f.token = "a.b" }, 401, "denied"},
		"an unknown credential":   {func(f *forgery) { f.header["kid"] = newUnknown() }, 401, "denied"},
		"a former credential":     {func(f *forgery) { f.header["kid"], f.key = former.ID, ed25519.NewKeyFromSeed(former.Seed) }, 401, "denied"},
		"another's signature":     {func(f *forgery) { f.key = other }, 401, "denied"},
		"another algorithm":       {func(f *forgery) { f.header["alg"] = "none" }, 401, "denied"},
		"more in the header":      {func(f *forgery) { f.header["jwk"] = "x" }, 401, "denied"},
		"another server":          {func(f *forgery) { f.claims.Subject = stranger.Server }, 401, "denied"},
		"another audience":        {func(f *forgery) { f.claims.Audience = "fra-1" }, 401, "denied"},
		"another scope":           {func(f *forgery) { f.claims.Scope = "peers:write" }, 401, "denied"},
		"another method":          {func(f *forgery) { f.claims.Method = http.MethodPut }, 401, "denied"},
		"another path":            {func(f *forgery) { f.path = "/node-heartbeat/deregister" }, 401, "denied"},
		"the whole path":          {func(f *forgery) { f.claims.Path = prefix + f.claims.Path }, 401, "denied"},
		"a query":                 {func(f *forgery) { f.claims.Query = "a=b" }, 401, "denied"},
		"another body":            {func(f *forgery) { f.body = strings.Replace(f.body, "true", "false", 1) }, 401, "denied"},
		"a short jti":             {func(f *forgery) { f.claims.ID = "AAAA" }, 401, "denied"},
		"good for too long":       {func(f *forgery) { f.claims.Expires += 31 }, 401, "denied"},
		"good for no time":        {func(f *forgery) { f.claims.Expires = f.claims.IssuedAt }, 401, "denied"},
		"expired":                 {func(f *forgery) { f.claims.IssuedAt -= 40; f.claims.Expires -= 40 }, 401, "clock"},
		"of the future":           {func(f *forgery) { f.claims.IssuedAt += 10; f.claims.Expires += 10 }, 401, "clock"},
		"expired and forged":      {func(f *forgery) { f.claims.IssuedAt -= 40; f.claims.Expires -= 40; f.key = other }, 401, "denied"},
		"for another server":      {func(f *forgery) { rebody(f, fmt.Sprintf(`{"server":%q,"draining":true}`, stranger.Server)) }, 403, "denied"},
		"for nobody":              {func(f *forgery) { rebody(f, `{"draining":true}`) }, 403, "denied"},
		"no JSON":                 {func(f *forgery) { rebody(f, `{`) }, 400, "invalid"},
		"sent with a query":       {func(f *forgery) { f.query = "?a=b" }, 404, "invalid"},
		"sent by another method":  {func(f *forgery) { f.method = http.MethodPut }, 405, "invalid"},
		"of another content":      {func(f *forgery) { f.content = "text/plain" }, 400, "invalid"},
		"a body that is too long": {func(f *forgery) { rebody(f, strings.Repeat(" ", maxBody+1)) }, 413, "invalid"},
		"a path that is not there": {func(f *forgery) {
			f.claims.Path, f.path = "/node-heartbeat/all", "/node-heartbeat/all"
		}, 404, "invalid"},
		"another name": {func(f *forgery) {
			f.claims.Path, f.path = "/node-heartbeat/register", "/node-heartbeat/register"
			r, err := json.Marshal(registration("ams-1"))
			require.NoError(t, err)
			rebody(f, string(r))
		}, 403, "denied"},
		"a key that is the stranger's": {func(f *forgery) {
			f.claims.Path, f.path = "/node-enroll/rotate", "/node-enroll/rotate"
			rebody(f, `{"credential":{"public_key":"`+former.public()+`"}}`)
		}, 409, "conflict"},
	} {
		f := good()
		c.edit(&f)
		status, kind, detail := s.forge(f)
		require.Equal(t, c.status, status, "%s: %s", name, detail)
		require.Equal(t, c.kind, kind, "%s: %s", name, detail)
	}
	servers, err := s.mem.List(t.Context(), registry.Filter{})
	require.NoError(t, err)
	for _, server := range servers {
		require.Equal(t, server.ID == n.Server, server.Draining, "nothing was done but what was right")
	}
}

func newUnknown() string { return "00000000-0000-4000-8000-000000000000" }

// Whoever has seen a request cannot send it again, nor after its token has been forgotten.
func TestReplayed(t *testing.T) {
	s := newSite(t)
	n := s.node(s.config())
	var seen *http.Request
	var body []byte
	s.fails(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		var err error
		if body, err = io.ReadAll(r.Body); err != nil {
			panic(err)
		}
		seen = r
		r.Body = io.NopCloser(bytes.NewReader(body))
		next.ServeHTTP(w, r)
	})
	require.NoError(t, n.Drain(t.Context(), n.Server, true))
	s.fails(nil)
	again := func() (int, string, string) {
		return s.forge(forgery{
			token: strings.TrimPrefix(seen.Header.Get("Authorization"), "Bearer "), method: seen.Method,
			path: strings.TrimPrefix(seen.URL.Path, prefix), body: string(body), content: seen.Header.Get("Content-Type"),
		})
	}
	status, kind, detail := again()
	require.Equal(t, http.StatusUnauthorized, status)
	require.Equal(t, "denied", kind)
	require.Contains(t, detail, "used before")
	s.clock.Advance(30 * time.Second) // of 35: a token's times are whole seconds, and the clock goes on
	_, kind, _ = again()
	require.Equal(t, "denied", kind)
	s.clock.Advance(7 * time.Second)
	status, kind, _ = again()
	require.Equal(t, http.StatusUnauthorized, status)
	require.Equal(t, "clock", kind)
}
