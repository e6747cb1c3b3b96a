package edge

import (
	"bufio"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"
)

// KeyID names the key that the functions sign with.
const KeyID = "control-plane-1"

// variables are those that the functions may read: their own, and what the driver of PostgreSQL looks for.
const variables = "SUPABASE_*,WAYLUME_*,STRIPE_*,HARNESS_*,PG*,USER,USERNAME,LOGNAME"

// Config says what the functions run with. The zero Config is of functions without a database.
type Config struct {
	// Database is the URL of the database: SUPABASE_DB_URL.
	Database string
	// Env is added to the environment, which has nothing else of the test's own.
	Env map[string]string
	// Hosts are those that the functions may reach beside the loopback.
	Hosts []string
	// TLS has them served over TLS, with a certificate that RootCAs holds.
	TLS bool
}

// Functions are the functions of examples/supabase, served by a Deno of their own.
type Functions struct {
	// URL is the base URL: http://127.0.0.1:PORT/functions/v1, or https.
	URL string
	// PublicKey is that of the key which requests to nodes are signed with, under the name KeyID.
	PublicKey crypto.PublicKey
	// RootCAs is the certificate to trust, in PEM; empty without TLS.
	RootCAs []byte

	secret []byte // of users' tokens
	cmd    *exec.Cmd
	log    *log
	once   sync.Once
}

// Start serves the functions until the test has ended. What they have logged is shown if it failed.
func Start(tb testing.TB, cfg Config) *Functions {
	tb.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(tb, err)
	der, err := x509.MarshalPKCS8PrivateKey(private)
	require.NoError(tb, err)
	f := &Functions{PublicKey: public, secret: []byte(rand.Text() + rand.Text()), log: &log{}}
	env := map[string]string{
		"SUPABASE_DB_URL":        cfg.Database,
		"WAYLUME_SIGNING_KEY":    base64.StdEncoding.EncodeToString(der),
		"WAYLUME_SIGNING_KEY_ID": KeyID,
		"WAYLUME_JWT_SECRET":     string(f.secret),
	}
	scheme := "http"
	if cfg.TLS {
		scheme = "https"
		certificate, key := certify(tb)
		f.RootCAs, env["HARNESS_CERT"], env["HARNESS_KEY"] = certificate, string(certificate), string(key)
	}
	maps.Copy(env, cfg.Env)
	hosts := append([]string{"127.0.0.1", "localhost", "[::1]"}, cfg.Hosts...)
	f.cmd = Command(tb, "", "run", "--allow-env="+variables, "--allow-net="+strings.Join(hosts, ","), "main.ts")
	f.cmd.Env = []string{}
	for _, line := range Command(tb, "", "run").Env {
		if name, _, _ := strings.Cut(line, "="); strings.HasPrefix(name, "DENO") || name == "NO_COLOR" || name == "HOME" || name == "PATH" {
			f.cmd.Env = append(f.cmd.Env, line)
		}
	}
	for name, value := range env {
		f.cmd.Env = append(f.cmd.Env, name+"="+value)
	}
	f.cmd.Stderr = f.log
	stdout, err := f.cmd.StdoutPipe()
	require.NoError(tb, err)
	require.NoError(tb, f.cmd.Start())
	listening := make(chan string, 1)
	f.log.reading.Go(func() {
		defer close(listening)
		for lines := bufio.NewScanner(stdout); lines.Scan(); {
			var said struct{ Listening string }
			if json.Unmarshal(lines.Bytes(), &said) == nil && said.Listening != "" {
				listening <- said.Listening
				continue
			}
			_, _ = fmt.Fprintln(f.log, lines.Text())
		}
	})
	tb.Cleanup(func() {
		f.Stop()
		if tb.Failed() {
			tb.Logf("the functions said:\n%s", f.Log())
		}
	})
	select {
	case address, ok := <-listening:
		if !ok {
			f.Stop()
			require.FailNow(tb, "the functions do not start", f.Log())
		}
		f.URL = scheme + "://" + address + "/functions/v1"
	case <-time.After(60 * time.Second):
		require.FailNow(tb, "the functions do not listen", f.Log())
	}
	return f
}

// Stop ends them at once. To do so again is harmless.
func (f *Functions) Stop() {
	f.once.Do(func() {
		_ = f.cmd.Process.Kill()
		f.log.reading.Wait()
		_ = f.cmd.Wait()
	})
}

// Log is what they have written.
func (f *Functions) Log() string { return f.log.String() }

// UserToken is an access token as Supabase Auth gives it to a user who is logged in, good for an hour; claims are added, or put in the
// place of its own.
func (f *Functions) UserToken(tb testing.TB, user string, claims map[string]any) string {
	tb.Helper()
	all := jwt.MapClaims{
		"sub": user, "aud": "authenticated", "role": "authenticated", "iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix(),
	}
	maps.Copy(all, claims)
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, all).SignedString(f.secret)
	require.NoError(tb, err)
	return token
}

// Client trusts the certificate of the functions, and gives up after 30 s.
func (f *Functions) Client(tb testing.TB) *http.Client {
	tb.Helper()
	return client(tb, f.RootCAs)
}

// log keeps what a process writes.
type log struct {
	reading sync.WaitGroup
	mu      sync.Mutex
	text    strings.Builder
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
