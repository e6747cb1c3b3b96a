package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/waylume/waylume/wgnode/httpapi/client"
	"github.com/waylume/waylume/wgnode/httpapi/problem"
	api "github.com/waylume/waylume/wgnode/httpapi/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// seen is a request as a server got it.
type seen struct {
	method, path, query, body string
	header                    http.Header
}

// server answers each request with the next answer, and notes it.
type server struct {
	mu      sync.Mutex
	answers []http.HandlerFunc
	seen    []seen
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	s.mu.Lock()
	s.seen = append(s.seen, seen{r.Method, r.URL.EscapedPath(), r.URL.RawQuery, string(body), r.Header.Clone()})
	next := s.answers[0]
	if len(s.answers) > 1 {
		s.answers = s.answers[1:]
	}
	s.mu.Unlock()
	next(w, r)
}

func (s *server) requests() []seen {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen
}

// serving is a client of a server that gives these answers; the last again and again.
func serving(t *testing.T, cfg client.Config, answers ...http.HandlerFunc) (*client.Client, *server) {
	t.Helper()
	s := &server{answers: answers}
	listening := httptest.NewServer(s)
	t.Cleanup(listening.Close)
	cfg.URL = listening.URL
	c, err := client.New(cfg)
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c, s
}

func answering(status int, contentType, body string, headers ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		for i := 0; i < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func ok(value any, headers ...string) http.HandlerFunc {
	body, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	return answering(http.StatusOK, "application/json", string(body), headers...)
}

func refusing(status int, kind problem.Type, headers ...string) http.HandlerFunc {
	body, _ := json.Marshal(problem.New(status, kind, "as it is"))
	return answering(status, problem.ContentType, string(body), headers...)
}

// drop breaks the connection in the middle of an answer.
func drop(w http.ResponseWriter, _ *http.Request) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(err)
	}
	_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{")
	_ = conn.Close()
}

var (
	key  = api.Key{0xff, 0xef, 31: 1}
	peer = api.Peer{ID: key.ID(), PublicKey: key, Name: "phone", Addresses: []netip.Addr{netip.MustParseAddr("10.0.0.2")}}
)

// Each operation asks what the API wants to be asked.
func TestOperations(t *testing.T) {
	from := time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC)
	id := key.ID()
	for name, test := range map[string]struct {
		call   func(context.Context, *client.Client) error
		answer any
		want   seen
	}{
		"create": {func(ctx context.Context, c *client.Client) error {
			p, err := c.CreatePeer(ctx, api.PeerSpec{Name: "phone"})
			require.Equal(t, "phone", p.Name)
			return err
		}, api.CreatedPeer{Peer: peer}, seen{method: "POST", path: "/api/v1/peers", body: `{"name":"phone"}`}},
		"create many": {func(ctx context.Context, c *client.Client) error {
			p, err := c.CreatePeers(ctx, []api.PeerSpec{{Name: "phone"}})
			require.Len(t, p, 1)
			return err
		}, api.BulkCreated{Peers: []api.CreatedPeer{{Peer: peer}}}, seen{method: "POST", path: "/api/v1/peers/bulk-create", body: `{"peers":[{"name":"phone"}]}`}},
		"get": {func(ctx context.Context, c *client.Client) error {
			p, etag, err := c.Peer(ctx, key)
			require.Equal(t, peer, p)
			require.Equal(t, `"7"`, etag)
			return err
		}, peer, seen{method: "GET", path: "/api/v1/peers/" + id}},
		"patch": {func(ctx context.Context, c *client.Client) error {
			p, etag, err := c.PatchPeer(ctx, key, api.PeerPatch{Account: api.Null[string]()}, client.IfMatch(`"6"`))
			require.Equal(t, peer, p)
			require.Equal(t, `"7"`, etag)
			return err
		}, peer, seen{method: "PATCH", path: "/api/v1/peers/" + id, body: `{"account":null}`}},
		"delete": {func(ctx context.Context, c *client.Client) error { return c.DeletePeer(ctx, key) },
			nil, seen{method: "DELETE", path: "/api/v1/peers/" + id}},
		"delete many": {func(ctx context.Context, c *client.Client) error { return c.DeletePeers(ctx, []api.Key{key}) },
			nil, seen{method: "POST", path: "/api/v1/peers/bulk-delete", body: `{"ids":["` + key.String() + `"]}`}},
		"top up": {func(ctx context.Context, c *client.Client) error {
			u, err := c.TopUpPeer(ctx, key, 5<<30)
			require.EqualValues(t, 7, u.Used)
			return err
		}, api.Usage{Used: 7}, seen{method: "POST", path: "/api/v1/peers/" + id + "/top-up", body: `{"bytes":5368709120}`}},
		"rekey": {func(ctx context.Context, c *client.Client) error {
			p, err := c.RekeyPeer(ctx, key, api.PeerKeys{PresharedKey: api.Null[api.Key]()})
			require.Equal(t, "before", p.FormerID)
			return err
		}, api.CreatedPeer{Peer: peer, FormerID: "before"}, seen{method: "POST", path: "/api/v1/peers/" + id + "/rekey", body: `{"preshared_key":null}`}},
		"reset": {func(ctx context.Context, c *client.Client) error { _, err := c.ResetPeerUsage(ctx, key); return err },
			api.Usage{}, seen{method: "POST", path: "/api/v1/peers/" + id + "/reset-usage"}},
		"config": {func(ctx context.Context, c *client.Client) error {
			cfg, err := c.PeerConfig(ctx, key)
			require.Equal(t, "text", cfg.Text)
			return err
		}, api.PeerConfig{Text: "text"}, seen{method: "GET", path: "/api/v1/peers/" + id + "/config"}},
		"usage of a peer": {func(ctx context.Context, c *client.Client) error { _, err := c.PeerUsage(ctx, key); return err },
			api.Usage{}, seen{method: "GET", path: "/api/v1/peers/" + id + "/usage"}},
		"quality": {func(ctx context.Context, c *client.Client) error { _, err := c.PeerQuality(ctx, key); return err },
			api.Quality{}, seen{method: "GET", path: "/api/v1/peers/" + id + "/quality"}},
		"put account": {func(ctx context.Context, c *client.Client) error {
			a, etag, err := c.PutAccount(ctx, "a/b ü", api.AccountSpec{SpeedLimit: api.SpeedLimit{Download: 8000}})
			require.Equal(t, "a/b ü", a.ID)
			require.Equal(t, `"7"`, etag)
			return err
		}, api.Account{ID: "a/b ü"}, seen{method: "PUT", path: "/api/v1/accounts/a%2Fb%20%C3%BC", body: `{"speed_limit":{"download":8000}}`}},
		"get account": {func(ctx context.Context, c *client.Client) error { _, _, err := c.Account(ctx, "family"); return err },
			api.Account{}, seen{method: "GET", path: "/api/v1/accounts/family"}},
		"patch account": {func(ctx context.Context, c *client.Client) error {
			_, _, err := c.PatchAccount(ctx, "family", api.AccountPatch{Suspended: api.Set(true)})
			return err
		}, api.Account{}, seen{method: "PATCH", path: "/api/v1/accounts/family", body: `{"suspended":true}`}},
		"delete account": {func(ctx context.Context, c *client.Client) error { return c.DeleteAccount(ctx, "family", true) },
			nil, seen{method: "DELETE", path: "/api/v1/accounts/family", query: "peers=true"}},
		"top up account": {func(ctx context.Context, c *client.Client) error {
			_, err := c.TopUpAccount(ctx, "family", 1)
			return err
		},
			api.Usage{}, seen{method: "POST", path: "/api/v1/accounts/family/top-up", body: `{"bytes":1}`}},
		"usage of an account": {func(ctx context.Context, c *client.Client) error {
			_, err := c.AccountUsage(ctx,
				"family")
			return err
		},
			api.Usage{}, seen{method: "GET", path: "/api/v1/accounts/family/usage"}},
		"usage": {func(ctx context.Context, c *client.Client) error {
			_, err := c.Usage(ctx, client.UsageQuery{From: from, To: from.Add(time.Hour), Step: time.Hour, Account: "family"})
			return err
		}, api.UsageReport{}, seen{method: "GET", path: "/api/v1/usage",
			query: "account=family&from=2026-11-21T00%3A00%3A00Z&step=1h0m0s&to=2026-11-21T01%3A00%3A00Z"}},
		"node": {func(ctx context.Context, c *client.Client) error { _, err := c.Node(ctx); return err },
			api.Node{}, seen{method: "GET", path: "/api/v1/node"}},
		"drain": {func(ctx context.Context, c *client.Client) error {
			node, err := c.Drain(ctx)
			require.True(t, node.Draining)
			return err
		}, api.Node{Draining: true}, seen{method: "POST", path: "/api/v1/node/drain"}},
		"undrain": {func(ctx context.Context, c *client.Client) error { _, err := c.Undrain(ctx); return err },
			api.Node{}, seen{method: "POST", path: "/api/v1/node/undrain"}},
		"reset account": {func(ctx context.Context, c *client.Client) error {
			_, err := c.ResetAccountUsage(ctx, "family")
			return err
		},
			api.Usage{}, seen{method: "POST", path: "/api/v1/accounts/family/reset-usage"}},
		"sync": {func(ctx context.Context, c *client.Client) error {
			repairs, err := c.Sync(ctx)
			require.Equal(t, []api.Repair{{What: "a rule"}}, repairs)
			return err
		}, api.Repairs{Repairs: []api.Repair{{What: "a rule"}}}, seen{method: "POST", path: "/api/v1/node/sync"}},
		"live": {func(ctx context.Context, c *client.Client) error { _, err := c.Live(ctx); return err }, api.Health{},
			seen{method: "GET", path: "/livez"}},
		"ready": {func(ctx context.Context, c *client.Client) error { _, err := c.Ready(ctx); return err }, api.Health{},
			seen{method: "GET", path: "/readyz"}},
	} {
		t.Run(name, func(t *testing.T) {
			answer := ok(test.answer, "ETag", `"7"`)
			if test.answer == nil {
				answer = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }
			}
			c, s := serving(t, client.Config{UserAgent: "tests/1"}, answer)
			require.NoError(t, test.call(t.Context(), c))
			require.Len(t, s.requests(), 1)
			got := s.requests()[0]
			require.Regexp(t, `^tests/1 waylume-client/\S+$`, got.header.Get("User-Agent"))
			switch test.want.method {
			case "GET":
				require.Empty(t, got.header.Get("Idempotency-Key"))
			case "PATCH":
				require.Equal(t, "application/merge-patch+json", got.header.Get("Content-Type"))
				fallthrough
			default:
				require.Regexp(t, `^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`, got.header.Get("Idempotency-Key"))
			}
			if name == "patch" {
				require.Equal(t, `"6"`, got.header.Get("If-Match"))
			}
			got.header = nil
			require.Equal(t, test.want, got)
		})
	}
}

func TestUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "api.sock")
	c, err := client.New(client.Config{URL: "unix:" + path, Authorize: client.Bearer("secret"), Attempts: 2})
	require.NoError(t, err)
	defer c.Close()
	_, err = c.Node(t.Context())
	require.ErrorIs(t, err, client.ErrUnreachable)
	require.ErrorContains(t, err, path)

	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", path)
	require.NoError(t, err)
	s := &server{answers: []http.HandlerFunc{ok(api.Node{State: "running"})}}
	listening := &http.Server{Handler: s, ReadHeaderTimeout: time.Second}
	done := make(chan error, 1)
	go func() { done <- listening.Serve(listener) }()
	node, err := c.Node(t.Context())
	require.NoError(t, err)
	require.Equal(t, "running", node.State)
	require.Equal(t, "Bearer secret", s.requests()[0].header.Get("Authorization"))
	require.NoError(t, listening.Close())
	require.ErrorIs(t, <-done, http.ErrServerClosed)
}

// Who reads events is who asks for all else.
func TestEventSource(t *testing.T) {
	c, s := serving(t, client.Config{Authorize: client.Bearer("secret"), Timeout: time.Nanosecond}, ok(api.Node{}),
		answering(http.StatusFound, "", "", "Location", "http://127.0.0.1:1"))
	source, url := c.EventSource(map[string][]string{"kind": {"peer_added", "missed"}})
	require.Zero(t, source.Timeout)
	for _, want := range []int{http.StatusOK, http.StatusFound} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
		require.NoError(t, err)
		response, err := source.Do(r)
		require.NoError(t, err)
		require.Equal(t, want, response.StatusCode)
		require.NoError(t, response.Body.Close())
		require.Empty(t, r.Header, "it is the caller's")
	}
	got := s.requests()[0]
	require.Equal(t, "/api/v1/events?kind=peer_added&kind=missed", got.path+"?"+got.query)
	require.Equal(t, "Bearer secret", got.header.Get("Authorization"))
	require.Regexp(t, "^waylume-client/", got.header.Get("User-Agent"))

	broken, _ := serving(t, client.Config{Authorize: func(*http.Request, []byte) error { return errors.New("no key") }},
		ok(api.Node{}))
	source, url = broken.EventSource(nil)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	require.NoError(t, err)
	_, err = source.Do(r) //nolint:bodyclose // there is none
	require.ErrorContains(t, err, "no key")
}

func TestPages(t *testing.T) {
	c, s := serving(t, client.Config{}, ok(api.PeerList{Items: []api.Peer{peer, peer}, Next: "b"}),
		ok(api.PeerList{Items: []api.Peer{}, Next: "c"}),
		ok(api.PeerList{Items: []api.Peer{peer}}))
	var got []api.Peer
	for p, err := range c.Peers(t.Context(), client.PeerQuery{Account: "a&b", Page: 2}) {
		require.NoError(t, err)
		got = append(got, p)
	}
	require.Equal(t, []api.Peer{peer, peer, peer}, got)
	queries := make([]string, 0, 3)
	for _, r := range s.requests() {
		queries = append(queries, r.query)
	}
	require.Equal(t, []string{"account=a%26b&limit=2", "account=a%26b&cursor=b&limit=2", "account=a%26b&cursor=c&limit=2"}, queries)

	c, s = serving(t, client.Config{}, ok(api.AccountList{Items: []api.Account{{ID: "x"}}, Next: "b"}))
	for _, err := range c.Accounts(t.Context(), 0) {
		require.NoError(t, err)
		break
	}
	require.Len(t, s.requests(), 1)
	var last error
	for _, err := range c.Accounts(t.Context(), 0) {
		last = err
	}
	require.ErrorIs(t, last, client.ErrAnswer)
	require.ErrorContains(t, last, "after itself")
	require.Len(t, s.requests(), 3)

	c, _ = serving(t, client.Config{}, ok(api.UsageReport{Damage: []string{"x"}, Usages: []api.SpentUsage{{Account: "a"}},
		Next: "b"}),
		ok(api.UsageReport{Usages: []api.SpentUsage{{Account: "b"}}}))
	report, err := c.Usage(t.Context(), client.UsageQuery{})
	require.NoError(t, err)
	require.Equal(t, api.UsageReport{Damage: []string{"x"}, Usages: []api.SpentUsage{{Account: "a"}, {Account: "b"}}}, report)
}

func TestHealth(t *testing.T) {
	failing := api.Health{Status: "failing", Checks: []api.Check{{Name: "node", Detail: "it is closed"}}}
	body, err := json.Marshal(failing)
	require.NoError(t, err)
	c, s := serving(t, client.Config{}, answering(http.StatusServiceUnavailable, "application/json", string(body)))
	health, err := c.Ready(t.Context())
	require.NoError(t, err)
	require.Equal(t, failing, health)
	require.Len(t, s.requests(), 1, "who asks whether it works wants to know now")
	c, _ = serving(t, client.Config{}, answering(http.StatusBadGateway, "text/html", "<h1>"))
	_, err = c.Live(t.Context())
	require.ErrorIs(t, err, client.ErrUnavailable)
}

func TestConcurrent(t *testing.T) {
	c, s := serving(t, client.Config{}, ok(peer))
	var group sync.WaitGroup
	failed := make(chan error, 16)
	for range 16 {
		group.Go(func() {
			for range 10 {
				if _, _, err := c.PatchPeer(t.Context(), key, api.PeerPatch{}); err != nil {
					failed <- err
					return
				}
			}
		})
	}
	group.Wait()
	close(failed)
	require.NoError(t, <-failed)
	keys := map[string]bool{}
	for _, r := range s.requests() {
		keys[r.header.Get("Idempotency-Key")] = true
	}
	require.Len(t, keys, 160)
}
