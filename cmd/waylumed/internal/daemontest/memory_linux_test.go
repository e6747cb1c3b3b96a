package daemontest

import (
	"net/http"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	api "github.com/waylume/waylume/wgnode/httpapi/v1"
)

// TestMemory has a node with its peers in memory start where there is no directory yet: what is not about peers is kept there.
func TestMemory(t *testing.T) {
	s := newSite(t, settings{"node.store": "memory"})
	require.NoDirExists(t, s.path("state"))
	d := s.start(t)
	info, err := os.Stat(s.path("state"))
	require.NoError(t, err)
	require.Equal(t, os.ModeDir|0o700, info.Mode())
	key := must[api.Node](t, s.unix(), http.StatusOK, http.MethodGet, onSocket+"/api/v1/node", nil).PublicKey
	must[api.CreatedPeer](t, s.unix(), http.StatusCreated, http.MethodPost, onSocket+peers, api.PeerSpec{Name: "ada"})
	d.stop(t)
	verify(t, s)

	d = s.start(t)
	require.Empty(t, allPeers(t, s.unix(), onSocket))
	require.Equal(t, key, must[api.Node](t, s.unix(), http.StatusOK, http.MethodGet, onSocket+"/api/v1/node", nil).PublicKey)
	d.stop(t)
}
