package allowlist_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/waylume/waylume/cmd/waylumed/internal/allowlist"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func prefixes(texts ...string) (all []netip.Prefix) {
	for _, text := range texts {
		all = append(all, netip.MustParsePrefix(text))
	}
	return all
}

func TestParse(t *testing.T) {
	want := prefixes("192.0.2.1/32", "198.51.100.0/24", "2001:db8::/32")
	for _, text := range []string{
		"# ours\n198.51.100.0/24\n\n 2001:db8::/32 # theirs\r\n192.0.2.1\n192.0.2.1/32",
		` ["2001:db8::/32", "198.51.100.0/24", "192.0.2.1"]`,
	} {
		got, err := allowlist.Parse([]byte(text))
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	for text, problem := range map[string]string{
		"10.0.0.0/8\nnobody": `line 2: "nobody"`,
		"::ffff:192.0.2.1":   "give 192.0.2.1",
		"fe80::1%eth0":       "line 1: ",
		"198.51.100.7/24":    "give the one that is meant",
		`["1.2.3.4", 5]`:     "no JSON array of strings",
		`["1.2.3.4/33"]`:     "entry 0: ",
		"# nobody\n":         "the list is empty",
		strings.Repeat(" ", allowlist.MaxBytes+1):       "more than 4194304 bytes",
		strings.Repeat("::\n", allowlist.MaxPrefixes+1): "line 65537: the list has more than 65536 entries",
	} {
		_, err := allowlist.Parse([]byte(text))
		require.ErrorContains(t, err, problem)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("198.51.100.7/24\n# x\n::1"))
	f.Add([]byte(`["1.2.3.4", "::/0"]`))
	f.Fuzz(func(t *testing.T, text []byte) {
		got, err := allowlist.Parse(text)
		if err != nil {
			require.Nil(t, got)
			return
		}
		var again strings.Builder
		for _, p := range got {
			require.Equal(t, p.Masked(), p)
			again.WriteString(p.String() + "\n")
		}
		same, err := allowlist.Parse([]byte(again.String()))
		require.NoError(t, err)
		require.Equal(t, got, same)
	})
}

// force is what was put in force, each time.
type force struct {
	lists [][]netip.Prefix
	err   error
}

func (f *force) apply(_ context.Context, list []netip.Prefix) error {
	if f.err != nil {
		return f.err
	}
	f.lists = append(f.lists, list)
	return nil
}

func config(f *force, dir string) allowlist.Config {
	return allowlist.Config{
		File: filepath.Join(dir, "list"), Refresh: time.Millisecond, Last: filepath.Join(dir, "last"), Apply: f.apply,
		Logger: slog.New(slog.DiscardHandler),
	}
}

// TestFile has a file change, be wrong, be gone, and be there again; what is in force is always the last good list.
func TestFile(t *testing.T) {
	dir := t.TempDir()
	var f force
	cfg := config(&f, dir)
	l := allowlist.New(cfg)
	require.ErrorIs(t, l.Load(t.Context()), os.ErrNotExist, "there is no list at all")

	write := func(text string) { require.NoError(t, os.WriteFile(cfg.File, []byte(text), 0o600)) }
	write("192.0.2.0/24")
	require.NoError(t, l.Load(t.Context()))
	require.NoError(t, l.Load(t.Context()))
	require.Equal(t, [][]netip.Prefix{prefixes("192.0.2.0/24")}, f.lists, "the same list is put in force once")
	require.True(t, l.Contains(netip.MustParseAddr("::ffff:192.0.2.9")))
	require.False(t, l.Contains(netip.MustParseAddr("192.0.3.9")))

	write("nonsense")
	require.NoError(t, l.Load(t.Context()), "the last good one is there")
	n, readAt, err := l.Status()
	require.Equal(t, 1, n)
	require.NotZero(t, readAt)
	require.ErrorContains(t, err, `line 1: "nonsense"`)

	write("192.0.3.0/24")
	f.err = errors.New("the kernel is busy")
	another := allowlist.New(cfg)
	require.ErrorIs(t, another.Load(t.Context()), f.err)
	require.False(t, another.Contains(netip.MustParseAddr("192.0.3.9")), "what is not in force is not said to be")
	f.err = nil
	require.NoError(t, another.Load(t.Context()))
	require.True(t, another.Contains(netip.MustParseAddr("192.0.3.9")))

	require.NoError(t, os.Remove(cfg.File))
	var afterRestart force
	cfg.Apply = afterRestart.apply
	l = allowlist.New(cfg)
	require.NoError(t, l.Load(t.Context()))
	require.Equal(t, [][]netip.Prefix{prefixes("192.0.3.0/24")}, afterRestart.lists)

	require.NoError(t, os.WriteFile(cfg.Last, []byte("torn"), 0o600))
	require.ErrorContains(t, allowlist.New(cfg).Load(t.Context()), "remove it")
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, 1, "nothing else is left behind")
}

// TestURL has a server fail, come back, and change its list while it is asked again and again.
func TestURL(t *testing.T) {
	answers := make(chan func(http.ResponseWriter), 64)
	answer := func(status int, text string) {
		answers <- func(w http.ResponseWriter) {
			w.WriteHeader(status)
			_, _ = io.WriteString(w, text)
		}
	}
	last := func(w http.ResponseWriter) { _, _ = io.WriteString(w, "198.51.100.0/24") }
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		select {
		case write := <-answers:
			write(w)
		default:
			last(w)
		}
	}))
	defer server.Close()
	defer http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	var f force
	cfg := config(&f, t.TempDir())
	cfg.File, cfg.URL = "", server.URL
	l := allowlist.New(cfg)
	answer(http.StatusServiceUnavailable, "")
	answer(http.StatusOK, "192.0.2.0/24")
	require.NoError(t, l.Load(t.Context()), "a server that fails is asked again")
	require.Equal(t, [][]netip.Prefix{prefixes("192.0.2.0/24")}, f.lists)

	answer(http.StatusNotFound, "192.0.9.0/24")
	answer(http.StatusOK, strings.Repeat("#", allowlist.MaxBytes+1))
	answer(http.StatusOK, "")
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		l.Run(ctx)
	}()
	require.Eventually(t, func() bool { return l.Contains(netip.MustParseAddr("198.51.100.1")) }, 10*time.Second, time.Millisecond)
	cancel()
	<-ended
	require.Equal(t, [][]netip.Prefix{prefixes("192.0.2.0/24"), prefixes("198.51.100.0/24")}, f.lists, "no bad list was put in force")
}

// TestListener has a host that is not on the list find nobody.
func TestListener(t *testing.T) {
	dir := t.TempDir()
	var f force
	cfg := config(&f, dir)
	require.NoError(t, os.WriteFile(cfg.File, []byte("192.0.2.0/24"), 0o600))
	l := allowlist.New(cfg)
	require.NoError(t, l.Load(t.Context()))
	from := make(chan net.Conn, 4)
	for _, addr := range []string{"203.0.113.5", "192.0.2.7", "127.0.0.9"} {
		near, far := net.Pipe()
		t.Cleanup(func() { _, _ = near.Close(), far.Close() })
		from <- conn{near, &net.TCPAddr{IP: net.ParseIP(addr), Port: 1}}
	}
	close(from)
	wrapped := l.Listener(listener{from: from})
	var got []string
	for {
		c, err := wrapped.Accept()
		if err != nil {
			require.ErrorIs(t, err, net.ErrClosed)
			break
		}
		got = append(got, c.RemoteAddr().String())
	}
	require.Equal(t, []string{"192.0.2.7:1", "127.0.0.9:1"}, got)
}

type conn struct {
	net.Conn
	from net.Addr
}

func (c conn) RemoteAddr() net.Addr { return c.from }

type listener struct {
	net.Listener
	from chan net.Conn
}

func (l listener) Accept() (net.Conn, error) {
	if c, ok := <-l.from; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}
