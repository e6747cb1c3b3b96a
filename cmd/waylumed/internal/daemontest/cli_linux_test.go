package daemontest

import (
	"net/http"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	api "github.com/waylume/waylume/wgnode/httpapi/v1"
)

// TestCommandsFromElsewhere has the command line ask over TLS, with requests that it signs.
func TestCommandsFromElsewhere(t *testing.T) {
	s := newTrusting(t, nil)
	d := s.start(t)
	s.write(t, "servers.pem", "CERTIFICATE", s.servers.cert.Raw)
	must[api.CreatedPeer](t, s.unix(), http.StatusCreated, http.MethodPost, onSocket+peers, api.PeerSpec{Name: "ada"})
	ask := func(args ...string) (int, string) {
		return s.waylumed(t, append(args, "--api", s.base, "--ca-file", s.path("servers.pem"))...)
	}
	signed := []string{"--sign-key", s.path("reader.key"), "--kid", "reader", "--audience", name}
	status, out := ask(append([]string{"peers", "list"}, signed...)...)
	require.Zero(t, status, out)
	require.Contains(t, out, "ada")
	status, out = ask(append([]string{"peers", "add", "bob"}, signed...)...)
	require.NotZero(t, status)
	require.Contains(t, out, "peers:write", "the key may only read")
	status, out = ask("peers", "list")
	require.NotZero(t, status, out)

	for want, args := range map[string][]string{
		"say by which name the node knows the key":      {"--sign-key", s.path("reader.key")},
		"give that with --sign-key":                     {"--kid", "reader"},
		"no private key":                                {"--sign-key", s.path("servers.pem"), "--kid", "reader", "--audience", name},
		"has 3 bytes":                                   {"--sign-key", s.path("short"), "--kid", "reader", "--audience", name},
		"--token-file and --sign-key say both who asks": append([]string{"--token-file", s.path("short")}, signed...),
	} {
		require.NoError(t, os.WriteFile(s.path("short"), []byte("abc"), 0o600))
		status, out = ask(append([]string{"peers", "list"}, args...)...)
		require.NotZero(t, status)
		require.Contains(t, out, want)
	}
	d.stop(t)
}
