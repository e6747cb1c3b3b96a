package sessiontest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"maps"
	"net/http"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"
)

// Who asks must be a user who is logged in, whatever is asked.
func TestTokens(t *testing.T) {
	r := newRig(t)
	r.subscribed("ada", "basic")
	part := func(v any) string {
		content, err := json.Marshal(v)
		require.NoError(t, err)
		return base64.RawURLEncoding.EncodeToString(content)
	}
	good := r.UserToken(t, "ada", nil)
	anon, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
		"iss": "supabase", "role": "anon", "exp": time.Now().Add(time.Hour).Unix(),
	}).SignedString([]byte("another secret, of 32 bytes or more"))
	require.NoError(t, err)
	claims := map[string]any{"sub": "ada", "aud": "authenticated", "role": "authenticated", "exp": time.Now().Add(time.Hour).Unix()}
	for name, header := range map[string]string{
		"none":                      "",
		"no bearer":                 "Basic " + good,
		"no token":                  "Bearer x",
		"unsigned":                  "Bearer " + part(map[string]any{"alg": "none", "typ": "JWT"}) + "." + part(claims) + ".",
		"unsigned, with a last dot": "Bearer " + part(map[string]any{"alg": "none", "typ": "JWT"}) + "." + part(claims) + ".AA",
		"of another secret":         "Bearer " + anon,
		"changed":                   "Bearer " + good[:len(good)-3] + "AAA",
		"expired":                   "Bearer " + r.UserToken(t, "ada", map[string]any{"exp": time.Now().Add(-time.Minute).Unix()}),
		"without an end":            "Bearer " + r.UserToken(t, "ada", map[string]any{"exp": nil}),
		"of the anonymous key":      "Bearer " + r.UserToken(t, "ada", map[string]any{"role": "anon"}),
		"of the service":            "Bearer " + r.UserToken(t, "ada", map[string]any{"role": "service_role"}),
		"for another audience":      "Bearer " + r.UserToken(t, "ada", map[string]any{"aud": "elsewhere"}),
		"of nobody":                 "Bearer " + r.UserToken(t, "", nil),
		"of the schedule":           "Bearer " + cronSecret,
	} {
		t.Run(name, func(t *testing.T) {
			for _, path := range []string{"/connection-request", "/session-end"} {
				a := r.send(http.MethodPost, path, map[string]any{}, "Authorization", header)
				r.refused(a, http.StatusUnauthorized, "denied")
				require.Equal(t, "Bearer", a.header.Get("WWW-Authenticate"))
			}
		})
	}
	for _, token := range []string{"", "Bearer " + good, "Bearer " + cronSecret + "x", "Bearer " + anon} {
		r.refused(r.send(http.MethodPost, "/session-cleanup", nil, "Authorization", token), http.StatusUnauthorized, "denied")
	}
	require.Zero(t, value[int64](r, "select count(*) from vpn_sessions"))
}

// A project that signs users' tokens with a key pair: its public half is no secret, and signs nothing.
func TestKeyPairs(t *testing.T) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	point, err := private.PublicKey.Bytes()
	require.NoError(t, err)
	encode := base64.RawURLEncoding.EncodeToString
	set, err := json.Marshal(map[string]any{"keys": []any{map[string]any{
		"kty": "EC", "crv": "P-256", "alg": "ES256", "kid": "users-1", "x": encode(point[1:33]), "y": encode(point[33:]),
	}}})
	require.NoError(t, err)
	const issuer = "https://project/auth/v1"
	r := newRigWith(t, map[string]string{"WAYLUME_JWT_SECRET": "", "SUPABASE_JWKS": string(set), "WAYLUME_JWT_ISSUER": issuer})
	r.node("fra-1", place{})
	r.subscribed("ada", "basic")
	token := func(method jwt.SigningMethod, key any, kid, issuer string) string {
		token := jwt.NewWithClaims(method, jwt.MapClaims{
			"sub": "ada", "aud": "authenticated", "role": "authenticated", "exp": time.Now().Add(time.Hour).Unix(), "iss": issuer,
		})
		token.Header["kid"] = kid
		text, err := token.SignedString(key)
		require.NoError(t, err)
		return text
	}
	another, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	der, err := x509.MarshalPKIXPublicKey(private.Public())
	require.NoError(t, err)
	half := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	for name, text := range map[string]string{
		"of another key":         token(jwt.SigningMethodES256, another, "users-1", issuer),
		"of a key that is none":  token(jwt.SigningMethodES256, private, "users-2", issuer),
		"of another issuer":      token(jwt.SigningMethodES256, private, "users-1", "https://another/auth/v1"),
		"with the public half":   token(jwt.SigningMethodHS256, set, "users-1", issuer),
		"with it in PEM":         token(jwt.SigningMethodHS256, half, "users-1", issuer),
		"unsigned":               token(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, "users-1", issuer),
		"with the tests' secret": r.UserToken(t, "ada", nil),
	} {
		t.Run(name, func(*testing.T) {
			a := r.send(http.MethodPost, "/connection-request", map[string]any{}, "Authorization", bearer(text))
			r.refused(a, http.StatusUnauthorized, "denied")
		})
	}
	ada := &user{r, "ada", token(jwt.SigningMethodES256, private, "users-1", issuer)}
	require.Equal(t, "fra-1", ada.device("session-one").connect().Server.Name)
}

// What is another's is as if it were not there, and stays as it was.
func TestOthers(t *testing.T) {
	r := newRig(t)
	n := r.node("fra-1", place{})
	ada, mallory := r.subscribed("ada", "basic"), r.subscribed("mallory", "basic")
	device := ada.device("the-session-of-ada")
	c := device.connect()

	r.refused(mallory.end(c.Session), http.StatusNotFound, "unknown-session")
	r.refused(mallory.end("00000000-0000-4000-8000-000000000000"), http.StatusNotFound, "unknown-session")
	// The same idempotency key is another one, of another user's; the key pair is Ada's alone.
	stolen := mallory.device("the-session-of-ada")
	stolen.request["public_key"] = device.request["public_key"]
	r.refused(stolen.ask(), http.StatusConflict, "conflict")
	own := mallory.device("the-session-of-ada")
	require.NotEqual(t, c.Session, own.connect().Session)
	// A key is good for one request.
	other := ada.device("the-session-of-ada")
	r.refused(other.ask(), http.StatusConflict, "conflict")

	again := device.connect()
	require.Equal(t, c, again)
	require.Len(t, n.peers(), 2)

	// A user reads what is their own, and no more.
	for table, rows := range map[string]int64{
		"subscriptions": 1, "vpn_sessions": 1, "vpn_period_usage": 0, "plans": 3,
	} {
		require.Equal(t, rows, r.as("authenticated", "ada", "select count(*) from "+table), table)
	}
	require.EqualValues(t, 3, r.as("anon", "", "select count(*) from plans"))
	for _, table := range []string{"stripe_events", "stripe_customers", "vpn_limits", "vpn_wanted", "vpn_usage"} {
		require.EqualValues(t, -1, r.as("authenticated", "ada", "select count(*) from "+table), table)
	}
	for _, write := range []string{
		"update subscriptions set plan = 'pro' returning 1::bigint", "delete from vpn_period_usage returning 1::bigint",
		"insert into subscriptions (user_id, plan, status) values ('ada', 'pro', 'active') returning 1::bigint",
		"update plans set cap = null returning 1::bigint", "select 1::bigint from vpn_allowance('mallory')",
	} {
		require.EqualValues(t, -1, r.as("authenticated", "ada", write), write)
	}
}

// as asks for a number in the role of Supabase's, as a user; -1: that is not allowed.
func (r *rig) as(role, user, sql string) (n int64) {
	r.t.Helper()
	tx, err := r.db.Begin(r.t.Context())
	require.NoError(r.t, err)
	defer func() { _ = tx.Rollback(r.t.Context()) }()
	claims, err := json.Marshal(map[string]string{"sub": user})
	require.NoError(r.t, err)
	_, err = tx.Exec(r.t.Context(), "select set_config('request.jwt.claims', $1, true), set_config('role', $2, true)", string(claims), role)
	require.NoError(r.t, err)
	if err := tx.QueryRow(r.t.Context(), sql).Scan(&n); err != nil {
		require.ErrorContains(r.t, err, "permission denied")
		return -1
	}
	return n
}

// What a request may say has bounds, and what a plan has, too.
func TestRequests(t *testing.T) {
	r := newRig(t)
	r.node("fra-1", place{})
	ada := r.subscribed("ada", "basic")
	for name, change := range map[string]map[string]any{
		"no key":              {"public_key": nil},
		"a short key":         {"public_key": "AAAA"},
		"the key of nobody":   {"public_key": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="},
		"no idempotency":      {"idempotency_key": nil},
		"a short one":         {"idempotency_key": "1"},
		"an unknown field":    {"max_load": 1},
		"a country in full":   {"country": "Germany"},
		"a position of three": {"position": map[string]any{"latitude": 1, "longitude": 2, "altitude": 3}},
		"a position outside":  {"position": map[string]any{"latitude": 91, "longitude": 2}},
		"a family of five":    {"family": 5},
	} {
		t.Run(name, func(*testing.T) {
			d := ada.device("session-one")
			maps.Copy(d.request, change)
			r.refused(d.ask(), http.StatusBadRequest, "invalid")
		})
	}
	for field, v := range map[string]any{"pool": "premium", "features": []string{"ipv6"}} {
		d := ada.device("session-one")
		d.request[field] = v
		r.refused(d.ask(), http.StatusForbidden, "not-in-plan")
	}
	r.refused(r.user("nobody").device("session-one").ask(), http.StatusForbidden, "no-plan")
	elsewhere := ada.device("session-one")
	elsewhere.request["country"] = "FR"
	a := elsewhere.ask()
	r.refused(a, http.StatusServiceUnavailable, "no-server")
	require.NotEmpty(t, a.header.Get("Retry-After"))
	require.Zero(t, value[int64](r, "select count(*) from vpn_sessions"))
	// A session that has ended is not begun again.
	d := ada.device("session-one")
	c := d.connect()
	require.Equal(t, http.StatusOK, ada.end(c.Session).status)
	require.Equal(t, http.StatusOK, ada.end(c.Session).status)
	r.refused(d.ask(), http.StatusConflict, "ended")
	// Its key and its place in the plan are free again at once.
	d.request["idempotency_key"] = "session-two"
	require.NotEqual(t, c.Session, d.connect().Session)
}
