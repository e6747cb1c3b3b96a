package daemontest

import (
	"crypto/ed25519"
	"crypto/x509"
	"net/http"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/registry"
)

// TestFleetKeysBesideOwn has a fleet send a key whose id the configuration has given to another: the node goes on with its own, starts
// again, and reloads.
func TestFleetKeysBesideOwn(t *testing.T) {
	c := newControlled(t)
	s := newMember(t, c)
	public, _, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	der, err := x509.MarshalPKIXPublicKey(public)
	require.NoError(t, err)
	s.write(t, "own.pem", "PUBLIC KEY", der)
	s.set(t, settings{"api.auth.keys": []settings{
		{"kid": "control-1", "alg": "EdDSA", "file": s.path("own.pem"), "scopes": []string{readPeers}},
	}})
	d := s.start(t)
	c.listed(t, d, "being listed", func(registry.Server) bool { return true })
	d.logs(t, "control keys not taken over")
	d.stop(t)

	d = s.start(t)
	d.logs(t, "are not trusted")
	c.listed(t, d, "being back", func(r registry.Server) bool { return r.Incarnation > 1 })
	client := s.unix()
	defer client.CloseIdleConnections()
	s.set(t, settings{"api.docs": true})
	d.signal(t, syscall.SIGHUP)
	d.logs(t, "read the configuration anew")
	must[any](t, client, http.StatusOK, http.MethodGet, peersURL, nil)
}
