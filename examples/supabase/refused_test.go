package supabase_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/internal/testutil/edge"
)

func claim(name string, value any) func(*signing) {
	return func(s *signing) { s.claims[name] = value }
}

// What a node has not signed, or not for this one request, is refused, and changes nothing.
func TestForgedRequestsAreRefused(t *testing.T) {
	f := newFleet(t)
	n, other := f.enrolled("fra-1"), f.enrolled("fra-2")
	_, stranger, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	now, public := time.Now().Unix(), n.key.Public().(ed25519.PublicKey)
	for name, edit := range map[string]func(*signing){
		"signed with another key":            func(s *signing) { s.key = stranger },
		"signed with another node's key":     func(s *signing) { s.key = other.key },
		"another node's credential":          func(s *signing) { s.header["kid"] = other.credential },
		"a credential that nobody has":       func(s *signing) { s.header["kid"] = "00000000-0000-4000-8000-000000000000" },
		"a credential that is no UUID":       func(s *signing) { s.header["kid"] = "' or true --" },
		"no credential":                      func(s *signing) { delete(s.header, "kid") },
		"more in the header":                 func(s *signing) { s.header["jku"] = "https://example.com/keys" },
		"another type":                       func(s *signing) { s.header["typ"] = "at+jwt" },
		"not signed at all":                  func(s *signing) { s.method, s.key = jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType },
		"HS256 with the public key":          func(s *signing) { s.method, s.key = jwt.SigningMethodHS256, []byte(public) },
		"HS256 with the public key in text":  func(s *signing) { s.method, s.key = jwt.SigningMethodHS256, []byte(encodedKey(n.key)) },
		"another subject":                    claim("sub", other.server),
		"a node's audience":                  claim("aud", "fra-1"),
		"a list of audiences":                claim("aud", []string{"waylume-fleet"}),
		"another scope":                      claim("scope", "peers:write"),
		"another method":                     claim("htm", http.MethodGet),
		"another path":                       claim("path", "/node-heartbeat/deregister"),
		"the path with what stands before":   claim("path", "/functions/v1/node-heartbeat"),
		"a query":                            claim("query", "a=b"),
		"another body":                       claim("digest", base64.RawURLEncoding.EncodeToString(make([]byte, 32))),
		"no digest":                          func(s *signing) { delete(s.claims, "digest") },
		"one claim more":                     claim("nbf", now),
		"a time that is text":                claim("exp", "soon"),
		"a time with a fraction":             claim("exp", float64(now)+30.5),
		"good for longer than a minute":      func(s *signing) { s.claims["exp"] = s.claims["iat"].(int64) + 61 },
		"ends before it begins":              func(s *signing) { s.claims["exp"] = s.claims["iat"] },
		"an id that is too short":            claim("jti", "0123456789abcde"),
		"an id that is too long":             claim("jti", strings.Repeat("x", 129)),
		"an id with a zero byte":             claim("jti", "0123456789abcdef\x00"),
		"more than a token may be in length": func(s *signing) { s.claims["jti"] = strings.Repeat("x", 9000) },
	} {
		t.Run(name, func(t *testing.T) {
			f, n := f.on(t), n.on(t)
			f.refused(f.ask(n.signed("/node-heartbeat", n.heartbeat(1), edit)), http.StatusUnauthorized, "denied")
		})
	}
	for name, edit := range map[string]func(r *http.Request){
		"no token":                    func(r *http.Request) { r.Header.Del("Authorization") },
		"no bearer":                   func(r *http.Request) { r.Header.Set("Authorization", "Basic bm9kZTpub2Rl") },
		"no JWT":                      func(r *http.Request) { r.Header.Set("Authorization", "Bearer a.b.c") },
		"a signature cut short":       func(r *http.Request) { r.Header.Set("Authorization", r.Header.Get("Authorization")[:300]) },
		"a query that was not signed": func(r *http.Request) { r.URL.RawQuery = "a=b" },
	} {
		t.Run(name, func(t *testing.T) {
			f, n := f.on(t), n.on(t)
			r := n.signed("/node-heartbeat", n.heartbeat(1))
			edit(r)
			f.refused(f.ask(r), http.StatusUnauthorized, "denied")
		})
	}
	require.Zero(t, value[int](f, "select count(*) from fleet_used_tokens"), "nothing of that was let in")
	require.Zero(t, value[int](f, "select sum(heartbeat_sequence) from waylume_servers"))
	n.say("/node-heartbeat", n.heartbeat(1))
}

// A clock that is off is told apart: whoever has signed well may correct it.
func TestAClockThatIsOffIsToldTheTime(t *testing.T) {
	f := newFleet(t)
	n := f.enrolled("fra-1")
	at := func(offset time.Duration) func(*signing) {
		now := time.Now().Add(offset).Unix()
		return func(s *signing) { s.claims["iat"], s.claims["exp"] = now, now+30 }
	}
	for name, offset := range map[string]time.Duration{
		"expired": -40 * time.Second, "years ago": -1e5 * time.Hour, "ahead": 10 * time.Second,
	} {
		t.Run(name, func(t *testing.T) {
			f, n := f.on(t), n.on(t)
			a := f.ask(n.signed("/node-heartbeat", n.heartbeat(1), at(offset)))
			f.refused(a, http.StatusUnauthorized, "clock")
			date, err := http.ParseTime(a.header.Get("Date"))
			require.NoError(t, err)
			require.WithinDuration(t, time.Now(), date, 5*time.Second)
		})
	}
	require.Zero(t, value[int](f, "select count(*) from fleet_used_tokens"))
	for sequence, offset := range []time.Duration{-30 * time.Second, 3 * time.Second} {
		a := f.ask(n.signed("/node-heartbeat", n.heartbeat(sequence+1), at(offset)))
		require.Equal(t, http.StatusOK, a.status, "within the skew: %v", a.body)
	}
}

// A request counts once, whoever sends it again, and wherever.
func TestAReplayedRequestIsRefused(t *testing.T) {
	f := newFleet(t)
	n, other := f.enrolled("fra-1"), f.enrolled("fra-2")
	id := jti(t)
	first := n.signed("/node-heartbeat", n.heartbeat(1), claim("jti", id))
	authorization := first.Header.Get("Authorization")
	require.Equal(t, http.StatusOK, f.ask(first).status)
	again := f.post("/node-heartbeat", f.encode(n.heartbeat(1)))
	again.Header.Set("Authorization", authorization)
	a := f.ask(again)
	f.refused(a, http.StatusUnauthorized, "denied")
	require.Contains(t, a.body["detail"], "used before")
	f.refused(f.ask(n.signed("/node-heartbeat", n.heartbeat(2), claim("jti", id))), http.StatusUnauthorized, "denied")

	// Another instance of the functions has the same database, and so the same memory.
	second := fleetAt(t, f.db.Config().ConnString(), edge.Config{})
	again = second.post("/node-heartbeat", f.encode(n.heartbeat(1)))
	again.Header.Set("Authorization", authorization)
	second.refused(second.ask(again), http.StatusUnauthorized, "denied")
	require.Equal(t, http.StatusOK, f.ask(other.signed("/node-heartbeat", other.heartbeat(1), claim("jti", id))).status,
		"ids are each credential's own")

	// Of those who send it at once, one is let in.
	request := n.signed("/node-heartbeat", n.heartbeat(3))
	statuses := make(chan int)
	for range 8 {
		r := f.post("/node-heartbeat", f.encode(n.heartbeat(3)))
		r.Header = request.Header
		go func() {
			response, err := f.client.Do(r)
			if err != nil {
				statuses <- 0
				return
			}
			statuses <- response.StatusCode
			_ = response.Body.Close()
		}()
	}
	count := map[int]int{}
	for range 8 {
		count[<-statuses]++
	}
	require.Equal(t, map[int]int{http.StatusOK: 1, http.StatusUnauthorized: 7}, count)
}

// A credential speaks for its own server, whatever a body says.
func TestACredentialSpeaksForItsServerAlone(t *testing.T) {
	f := newFleet(t)
	n, other := f.enrolled("fra-1"), f.enrolled("fra-2")
	before := value[string](f, "select jsonb_agg(s order by name)::text from waylume_servers s where name = 'fra-2'")
	now := time.Now().UTC().Format(time.RFC3339)
	for path, body := range map[string]map[string]any{
		"/node-heartbeat":            {"server": other.server, "incarnation": 1, "sequence": 1},
		"/node-heartbeat/drain":      {"server": other.server, "draining": true},
		"/node-heartbeat/deregister": {"server": other.server},
		"/usage-report":              {"server": other.server, "sequence": 1, "from": now, "to": now, "usages": []any{}},
		"/node-heartbeat/register":   other.registration,
	} {
		f.refused(f.ask(n.signed(path, body)), http.StatusForbidden, "denied")
		delete(body, "server")
		delete(body, "name")
		if path != "/node-heartbeat/register" {
			f.refused(f.ask(n.signed(path, body)), http.StatusForbidden, "denied")
		}
		// JSON with a member twice is read in one way.
		twice := []byte(`{"server":"` + n.server + `","server":"` + other.server + `","draining":true,"incarnation":1,"sequence":1}`)
		if strings.HasPrefix(path, "/node-heartbeat") && path != "/node-heartbeat/register" {
			f.refused(f.ask(n.signed(path, twice)), http.StatusForbidden, "denied")
		}
	}
	other.registration["name"] = "fra-2"
	theft := maps.Clone(n.registration)
	theft["audience"] = "fra-2" // requests that are signed for the other would come here
	f.refused(f.ask(n.signed("/node-heartbeat/register", theft)), http.StatusForbidden, "denied")
	require.JSONEq(t, before, value[string](f, "select jsonb_agg(s order by name)::text from waylume_servers s where name = 'fra-2'"))
}

func TestARevokedCredentialCountsNoMoreAtOnce(t *testing.T) {
	f := newFleet(t)
	n, other := f.enrolled("fra-1"), f.enrolled("fra-2")
	n.say("/node-heartbeat", n.heartbeat(1))
	require.True(t, value[bool](f, "select fleet_revoke_credential($1, 'stolen')", n.credential))
	require.False(t, value[bool](f, "select fleet_revoke_credential($1)", n.credential))
	for path, body := range map[string]map[string]any{
		"/node-heartbeat":          n.heartbeat(2),
		"/node-heartbeat/register": n.registration,
		"/node-enroll/rotate":      {"credential": map[string]any{"public_key": encodedKey(n.key)}},
	} {
		a := f.ask(n.signed(path, body))
		f.refused(a, http.StatusUnauthorized, "denied")
		require.Contains(t, a.body["detail"], "revoked")
	}
	other.say("/node-heartbeat", other.heartbeat(1))
	require.Equal(t, "revoked stolen",
		value[string](f, "select state || ' ' || revoke_reason from fleet_credentials_list() where id = $1", n.credential))
	require.Equal(t, 1, value[int](f, "select fleet_revoke_server($1)", other.server))
	f.refused(f.ask(other.signed("/node-heartbeat", other.heartbeat(2))), http.StatusUnauthorized, "denied")

	// A server that is deleted takes its credentials along.
	_, err := f.db.Exec(t.Context(), "delete from waylume_servers where id = $1", other.server)
	require.NoError(t, err)
	f.refused(f.ask(other.signed("/node-heartbeat", other.heartbeat(2))), http.StatusUnauthorized, "denied")
}

// Bodies that are not what they should be are refused with words, whoever has signed them.
func TestBadBodiesAreRefused(t *testing.T) {
	f := newFleet(t)
	n := f.enrolled("fra-1")
	for name, body := range map[string]string{
		"nothing":         "",
		"no JSON":         "{",
		"a list":          "[]",
		"null":            "null",
		"text":            `"server"`,
		"no UTF-8":        "{\"server\":\"" + n.server + "\",\"reasons\":[\"\xff\"]}",
		"a zero byte":     `{"server":"` + n.server + `","incarnation":1,"sequence":1,"reasons":["a\u0000b"]}`,
		"another type":    `{"server":"` + n.server + `","incarnation":"one","sequence":1}`,
		"a huge number":   `{"server":"` + n.server + `","incarnation":1e400,"sequence":1}`,
		"a larger number": `{"server":"` + n.server + `","incarnation":99999999999999999999,"sequence":1}`,
	} {
		t.Run(name, func(t *testing.T) {
			f, n := f.on(t), n.on(t)
			f.refused(f.ask(n.signed("/node-heartbeat", []byte(body))), http.StatusBadRequest, "invalid")
		})
	}
	t.Run("deep", func(t *testing.T) {
		f, n := f.on(t), n.on(t)
		deep := strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000)
		a := f.ask(n.signed("/node-heartbeat", []byte(`{"server":"`+n.server+`","incarnation":1,"sequence":1,"x":`+deep+`}`)))
		f.refused(a, http.StatusBadRequest, "invalid")
	})
	large := append([]byte(`{"server":"`+n.server+`","x":"`), []byte(strings.Repeat("x", 1<<20))...)
	large = append(large, `"}`...)
	f.refused(f.ask(expecting(n.signed("/node-heartbeat", large))), http.StatusRequestEntityTooLarge, "invalid")
	chunked := n.signed("/node-heartbeat", large)
	chunked.ContentLength = -1
	f.refused(f.ask(chunked), http.StatusRequestEntityTooLarge, "invalid")
	f.refused(f.ask(expecting(f.post("/node-enroll", large))), http.StatusRequestEntityTooLarge, "invalid")

	long := f.ask(n.signed("/node-heartbeat", []byte(`{"server":"`+n.server+`","incarnation":1`+strings.Repeat("0", 1000)+`,"sequence":1}`)))
	f.refused(long, http.StatusBadRequest, "invalid")
	require.Less(t, len(long.body["detail"].(string)), 600)

	get := n.signed("/node-heartbeat", n.heartbeat(1))
	get.Method, get.Body, get.ContentLength = http.MethodGet, nil, 0
	a := f.ask(get)
	f.refused(a, http.StatusMethodNotAllowed, "invalid")
	require.Equal(t, http.MethodPost, a.header.Get("Allow"))
	form := n.signed("/node-heartbeat", n.heartbeat(1))
	form.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	f.refused(f.ask(form), http.StatusUnsupportedMediaType, "invalid")
	for _, path := range []string{"/node-heartbeat/", "/node-heartbeat/other", "/node-heartbeat/toString", "/node-enroll/rotate/x"} {
		f.refused(f.ask(n.signed(path, n.heartbeat(1))), http.StatusNotFound, "invalid")
	}
	require.True(t, json.Valid(f.encode(n.say("/node-heartbeat", n.heartbeat(1)).body)))
}

// A body that does not come to its end is not waited for.
func TestASlowBodyIsRefused(t *testing.T) {
	f := newFleet(t)
	reader, writer := io.Pipe()
	defer writer.Close()
	go func() { _, _ = writer.Write([]byte(`{"token":`)) }()
	r := f.post("/node-enroll", nil)
	r.Body, r.ContentLength = reader, -1
	begun := time.Now()
	f.refused(f.ask(r), http.StatusServiceUnavailable, "unavailable")
	require.Less(t, time.Since(begun), 25*time.Second)
}

// expecting has a request's body wait until it is wanted (RFC 9110 section 10.1.1): who is refused for its length while sending it may
// see the connection reset before the answer.
func expecting(r *http.Request) *http.Request {
	r.Header.Set("Expect", "100-continue")
	return r
}
