package supabase_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/internal/testutil/edge"
	"github.com/waylume/waylume/internal/testutil/pgserver"
)

// fleet is a control plane: the functions, and the database behind them, which the test looks into as its owner.
type fleet struct {
	*edge.Functions
	t      *testing.T
	client *http.Client
	db     *pgxpool.Pool
}

func newFleet(t *testing.T) *fleet {
	t.Helper()
	return fleetAt(t, edge.Database(t, pgserver.Shared(t)), edge.Config{})
}

// fleetAt is one whose database the test has made; the functions reach it by the same URL, unless the configuration has another.
func fleetAt(t *testing.T, database string, cfg edge.Config) *fleet {
	t.Helper()
	if cfg.Database == "" {
		cfg.Database = database
	}
	pool, err := pgxpool.New(t.Context(), database)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	functions := edge.Start(t, cfg)
	return &fleet{Functions: functions, t: t, client: functions.Client(t), db: pool}
}

// on is the same fleet for a subtest.
func (f *fleet) on(t *testing.T) *fleet {
	c := *f
	c.t = t
	return &c
}

// value asks the database.
func value[T any](f *fleet, sql string, args ...any) T {
	f.t.Helper()
	rows, err := f.db.Query(f.t.Context(), sql, args...)
	require.NoError(f.t, err)
	v, err := pgx.CollectExactlyOneRow(rows, pgx.RowTo[T])
	require.NoError(f.t, err)
	return v
}

// token makes one for a node of this name, or of any name if it is empty.
func (f *fleet) token(name string) string {
	f.t.Helper()
	return value[string](f, "select token from fleet_issue_enrollment(name => nullif($1, ''))", name)
}

// answer is what a function has said.
type answer struct {
	status int
	header http.Header
	body   map[string]any
}

// problem is the last part of the type of a problem.
func (a answer) problem() string {
	word, _ := a.body["type"].(string)
	const prefix = "urn:waylume:fleet:"
	if len(word) < len(prefix) || word[:len(prefix)] != prefix {
		return ""
	}
	return word[len(prefix):]
}

// refused requires a problem.
func (f *fleet) refused(a answer, status int, word string) {
	f.t.Helper()
	require.Equal(f.t, status, a.status, a.body)
	require.Equal(f.t, word, a.problem(), a.body)
	require.Equal(f.t, "application/problem+json", a.header.Get("Content-Type"))
	require.EqualValues(f.t, status, a.body["status"])
	require.NotEmpty(f.t, a.body["title"])
	require.NotEmpty(f.t, a.body["detail"])
}

// ask sends a request and reads the answer, which must be JSON.
func (f *fleet) ask(r *http.Request) answer {
	f.t.Helper()
	response, err := f.client.Do(r)
	require.NoError(f.t, err)
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	require.NoError(f.t, err)
	a := answer{status: response.StatusCode, header: response.Header}
	require.NoError(f.t, json.Unmarshal(content, &a.body), "%s", content)
	return a
}

// post is a request that nobody has signed.
func (f *fleet) post(path string, body []byte) *http.Request {
	f.t.Helper()
	r, err := http.NewRequestWithContext(f.t.Context(), http.MethodPost, f.URL+path, bytes.NewReader(body))
	require.NoError(f.t, err)
	r.Header.Set("Content-Type", "application/json")
	return r
}

func (f *fleet) encode(v any) []byte {
	f.t.Helper()
	if b, ok := v.([]byte); ok {
		return b
	}
	b, err := json.Marshal(v)
	require.NoError(f.t, err)
	return b
}

// node is one that signs its requests by itself, so that it can sign them badly.
type node struct {
	f            *fleet
	key          ed25519.PrivateKey
	credential   string
	server       string
	registration map[string]any
}

func (f *fleet) node(name string) *node {
	f.t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(f.t, err)
	return &node{f: f, key: key, registration: map[string]any{
		"name": name, "public_key": wireguardKey(f.t), "endpoint_v4": "192.0.2.1:51820", "api_url": "https://192.0.2.1:8443",
	}}
}

// on is the same node for a subtest.
func (n *node) on(t *testing.T) *node {
	c := *n
	c.f = n.f.on(t)
	return &c
}

// enrolled is a node that has its credential.
func (f *fleet) enrolled(name string) *node {
	f.t.Helper()
	n := f.node(name)
	a := n.enroll(f.token(name))
	require.Equal(f.t, http.StatusOK, a.status, a.body)
	return n
}

func wireguardKey(t *testing.T) string {
	t.Helper()
	key := make([]byte, 32)
	_, err := rand.Read(key)
	require.NoError(t, err)
	return base64.StdEncoding.EncodeToString(key)
}

func encodedKey(key ed25519.PrivateKey) string {
	return base64.RawURLEncoding.EncodeToString(key.Public().(ed25519.PublicKey))
}

// enroll asks for a credential, and keeps what it is given.
func (n *node) enroll(token string) answer {
	n.f.t.Helper()
	a := n.f.ask(n.f.post("/node-enroll", n.f.encode(map[string]any{
		"token": token, "credential": map[string]any{"public_key": encodedKey(n.key)}, "registration": n.registration,
	})))
	if a.status == http.StatusOK {
		n.credential, _ = a.body["credential"].(string)
		registered, _ := a.body["registered"].(map[string]any)
		n.server, _ = registered["server"].(string)
	}
	return a
}

// signing is what a request is signed with.
type signing struct {
	method jwt.SigningMethod
	key    any
	header map[string]any
	claims jwt.MapClaims
}

func jti(t *testing.T) string {
	t.Helper()
	b := make([]byte, 16)
	_, err := rand.Read(b)
	require.NoError(t, err)
	return base64.RawURLEncoding.EncodeToString(b)
}

// signed is a request that the node has signed well, unless an edit makes it otherwise.
func (n *node) signed(path string, body any, edits ...func(*signing)) *http.Request {
	n.f.t.Helper()
	content := n.f.encode(body)
	digest := sha256.Sum256(content)
	now := time.Now().Unix()
	s := signing{
		method: jwt.SigningMethodEdDSA, key: n.key, header: map[string]any{"kid": n.credential},
		claims: jwt.MapClaims{
			"sub": n.server, "aud": "waylume-fleet", "scope": "node", "iat": now, "exp": now + 30, "jti": jti(n.f.t), "htm": http.MethodPost,
			"path": path, "query": "", "digest": base64.RawURLEncoding.EncodeToString(digest[:]),
		},
	}
	for _, edit := range edits {
		edit(&s)
	}
	token := jwt.NewWithClaims(s.method, s.claims)
	maps.Copy(token.Header, s.header)
	text, err := token.SignedString(s.key)
	require.NoError(n.f.t, err)
	r := n.f.post(path, content)
	r.Header.Set("Authorization", "Bearer "+text)
	return r
}

// say sends a request that is signed, and requires success.
func (n *node) say(path string, body any) answer {
	n.f.t.Helper()
	a := n.f.ask(n.signed(path, body))
	require.Equal(n.f.t, http.StatusOK, a.status, a.body)
	require.Equal(n.f.t, "application/json", a.header.Get("Content-Type"))
	return a
}

func (n *node) heartbeat(sequence int) map[string]any {
	return map[string]any{"server": n.server, "incarnation": 1, "sequence": sequence}
}
