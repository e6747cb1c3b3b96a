package daemontest

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/wgnode/httpapi/auth/sign"
	"github.com/waylume/waylume/wgnode/httpapi/problem"
)

// TestRotation has a certificate and keys be replaced while a connection goes on, and mistakes change nothing.
func TestRotation(t *testing.T) {
	s := newTrusting(t, nil)
	d := s.start(t)
	// HTTP/1.1, so that connections can be counted.
	cfg := s.servers.trusted()
	cfg.NextProtos = []string{"http/1.1"}
	dialled, serial := 0, ""
	cfg.VerifyConnection = func(state tls.ConnectionState) error {
		dialled, serial = dialled+1, state.PeerCertificates[0].SerialNumber.String()
		return nil
	}
	one := from("127.0.0.1", cfg)
	one.Transport.(*http.Transport).ForceAttemptHTTP2 = false
	list := func(key sign.Key, client *http.Client) reply {
		r, err := ask(signing(client, key, claims(readPeers)), http.MethodGet, s.base+peers, nil)
		require.NoError(t, err)
		return r
	}
	require.Equal(t, http.StatusOK, list(s.writer, one).status)
	require.Equal(t, s.serial.String(), serial)

	next := s.servers.server(t, s.site, net.IPv4(127, 0, 0, 1))
	s.keys = s.keys[1:] // without the writer's
	successor := s.newKey(t, "successor", readPeers, writePeers, adminNode)
	s.set(t, settings{"api.auth.keys": s.keys})
	d.signal(t, syscall.SIGHUP)
	d.logs(t, `msg="took over a setting" setting=api.auth.keys`)
	require.Equal(t, http.StatusOK, list(successor, one).status)
	require.Equal(t, 1, dialled, "the connection goes on")
	list(s.writer, from("127.0.1.1", s.servers.trusted())).problem(t, http.StatusUnauthorized, problem.Unauthenticated)
	one.CloseIdleConnections()
	require.Equal(t, http.StatusOK, list(successor, one).status)
	require.Equal(t, 2, dialled)
	require.Equal(t, next.String(), serial)

	good, err := os.ReadFile(s.path("waylumed.yaml"))
	require.NoError(t, err)
	cert, err := os.ReadFile(s.path("cert.pem"))
	require.NoError(t, err)
	admin := signing(one, successor, claims(adminNode))
	const refusal = "the configuration stays as it was"
	for _, broken := range []struct{ file, text, want string }{
		{"waylumed.yaml", "node:\n  mtu: 9\nlog:\n  level: loud\n", "node.mtu"},
		{"waylumed.yaml", "node: [", "waylumed.yaml"},
		{"cert.pem", "no certificate", "api.tls.cert_file"},
	} {
		require.NoError(t, os.WriteFile(s.path(broken.file), []byte(broken.text), 0o600))
		before := strings.Count(d.log.String(), refusal)
		d.signal(t, syscall.SIGHUP)
		d.until(t, "refusing the configuration", func() bool { return strings.Count(d.log.String(), refusal) > before })
		text := d.log.String()
		require.Contains(t, text[strings.LastIndex(text, refusal):], broken.want)
		p := refused(t, admin, http.StatusUnprocessableEntity, problem.Invalid, http.MethodPost, s.base+"/api/v1/node/reload", nil)
		require.Contains(t, fmt.Sprint(p.Detail, p.Faults), broken.want)
		require.Equal(t, http.StatusOK, list(successor, one).status)
		require.NoError(t, os.WriteFile(s.path("waylumed.yaml"), good, 0o600))
		require.NoError(t, os.WriteFile(s.path("cert.pem"), cert, 0o600))
	}

	s.set(t, settings{"node.mtu": 1400, "log.level": "warn"})
	type change struct{ Key, Old, New string }
	told := must[struct{ Applied, Waiting []change }](t, admin, http.StatusOK, http.MethodPost, s.base+"/api/v1/node/reload", nil)
	require.Equal(t, []change{{"log.level", "info", "warn"}}, told.Applied)
	require.Equal(t, []change{{"node.mtu", "1420", "1400"}}, told.Waiting)
	d.stop(t)
}
