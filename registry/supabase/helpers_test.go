package supabase

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/pem"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/waylume/waylume/registry"
	"github.com/waylume/waylume/registry/memory"
	"github.com/waylume/waylume/registry/supabase/supabasetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// clock is one that a test sets.
type clock struct{ ahead atomic.Int64 }

func (c *clock) Now() time.Time          { return time.Now().Add(time.Duration(c.ahead.Load())) }
func (c *clock) Advance(d time.Duration) { c.ahead.Add(int64(d)) }

// site is a fleet with a server before it.
type site struct {
	*testing.T
	mem   *memory.Fleet
	fleet *supabasetest.Fleet
	clock *clock // of the fleet
	*front
}

// front is one server of a fleet.
type front struct {
	server *httptest.Server
	asked  atomic.Int64

	mu    sync.Mutex
	fault func(w http.ResponseWriter, r *http.Request, next http.Handler)
}

const prefix = "/functions/v1"

var controlKeys = json.RawMessage(`{"keys":[
	{"kty":"OKP","crv":"Ed25519","x":"-9mIHAgIS5xuXcWO2Jei81sr5o0Hu1UatpBGVhbEZjw","kid":"control-plane-1","alg":"EdDSA","use":"sig"}
]}`)

func newSite(t *testing.T) *site {
	t.Helper()
	c := &clock{}
	mem, err := memory.New(memory.Config{Now: c.Now})
	require.NoError(t, err)
	s := &site{T: t, mem: mem, clock: c, fleet: supabasetest.New(supabasetest.Config{
		Registry: mem, Prefix: prefix, Now: c.Now, ControlKeys: controlKeys,
	})}
	s.front = s.newFront()
	return s
}

// newFront starts another server of the fleet.
func (s *site) newFront() *front {
	f := &front{}
	f.server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.asked.Add(1)
		f.mu.Lock()
		fault := f.fault
		f.mu.Unlock()
		if fault != nil {
			fault(w, r, s.fleet)
			return
		}
		s.fleet.ServeHTTP(w, r)
	}))
	f.server.EnableHTTP2 = true
	f.server.Config.ErrorLog = quiet()
	f.server.StartTLS()
	s.Cleanup(f.server.Close)
	return f
}

// fails has requests from now on be answered otherwise; nil: as they should be.
func (f *front) fails(fault func(w http.ResponseWriter, r *http.Request, next http.Handler)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fault = fault
}

func (f *front) url() string { return f.server.URL + prefix }

func (f *front) root() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: f.server.Certificate().Raw})
}

// lose has the fleet do what is asked, and the answer be lost.
func lose(_ http.ResponseWriter, r *http.Request, next http.Handler) {
	next.ServeHTTP(httptest.NewRecorder(), r)
	panic(http.ErrAbortHandler)
}

// drop breaks the connection before the fleet has heard of anything.
func drop(http.ResponseWriter, *http.Request, http.Handler) { panic(http.ErrAbortHandler) }

// answers is a fault that answers with something.
func answers(status int, contentType, body string, header ...string) func(http.ResponseWriter, *http.Request, http.Handler) {
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body)) // the client may have enough
	}
}

// config is one that reaches the fleet, with a directory of its own.
func (s *site) config() Config {
	s.Helper()
	dir := s.TempDir()
	return Config{
		CredentialFile: filepath.Join(dir, "fleet.json"), URLs: []string{s.url()}, RootCAs: s.root(), Now: s.clock.Now,
	}
}

// registration is the one that package registrytest has for a node.
func registration(name string) registry.Registration {
	r := registry.Registration{
		Name: name, EndpointV4: netip.MustParseAddrPort("192.0.2.1:51820"), APIURL: "https://192.0.2.1:8443",
	}
	copy(r.PublicKey[:], name)
	r.PublicKey[31] = 1
	return r
}

func (s *site) enroll(cfg Config, token supabasetest.Token) registry.Registered {
	s.Helper()
	registered, err := Enroll(s.Context(), EnrollConfig{
		Config: cfg, Token: s.fleet.NewToken(token), Registration: registration("fra-1"),
	})
	require.NoError(s, err)
	return registered
}

// open returns a client with what an enrollment left.
func (s *site) open(cfg Config) *Client {
	s.Helper()
	c, err := Open(cfg)
	require.NoError(s, err)
	s.Cleanup(func() { require.NoError(s, c.Close()) })
	return c
}

// node is one that is enrolled and has registered.
type node struct {
	*Client
	registry.Registered
	sequence int64
}

func (s *site) node(cfg Config) *node {
	s.Helper()
	patient := cfg // what is to be failed by faults is not this
	patient.ConnectTimeout, patient.HeaderTimeout, patient.Timeout = 0, 0, 0
	s.enroll(patient, supabasetest.Token{})
	n := &node{Client: s.open(cfg)}
	var err error
	n.Registered, err = n.Register(s.Context(), registration("fra-1"))
	require.NoError(s, err)
	return n
}

// beat sends the next heartbeat.
func (n *node) beat(ctx context.Context) error {
	n.sequence++
	_, err := n.Heartbeat(ctx, registry.Heartbeat{Server: n.Server, Incarnation: n.Incarnation, Sequence: n.sequence})
	return err
}

// logs is where a logger writes to.
type logs struct {
	mu sync.Mutex
	bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Buffer.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Buffer.String()
}

func (l *logs) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

func readText(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(text)
}

func tokenOf(name string) supabasetest.Token { return supabasetest.Token{Name: name} }

// quiet is for handshakes that a test has fail.
func quiet() *log.Logger { return slog.NewLogLogger(slog.DiscardHandler, slog.LevelError) }

// readAll reads a request's body, to be read again.
func readAll(r *http.Request) io.ReadCloser {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(err)
	}
	return io.NopCloser(bytes.NewReader(body))
}
