package fleettest

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/registry"
	"github.com/waylume/waylume/wgnode/httpapi/client"
	api "github.com/waylume/waylume/wgnode/httpapi/v1"
)

// quiet has no phone ask anything any more.
func (f *fleet) quiet(t *testing.T) {
	t.Helper()
	for _, p := range f.phones {
		p.stop()
	}
}

// resume has all phones ask.
func (f *fleet) resume() {
	for _, p := range f.phones {
		p.start()
	}
}

// count is what passed of a phone: as the host counts that is its owner, and as the internet has seen.
type count struct{ node, seen traffic }

// counted reads what passed of each phone, which is at the host of its number.
func (f *fleet) counted(t *testing.T) []count {
	t.Helper()
	counts := make([]count, len(f.phones))
	for i, p := range f.phones {
		used, err := f.hosts[i].api.PeerUsage(t.Context(), api.Key(p.public()))
		require.NoError(t, err)
		counts[i] = count{traffic{int64(used.Download), int64(used.Upload)}, f.internet.of(p.number)}
	}
	return counts
}

// place is where a session is.
type place struct {
	server     registry.ID
	generation int64
	state      registry.SessionState
}

func (f *fleet) sessions(t *testing.T) map[string]place {
	t.Helper()
	places := make(map[string]place)
	for _, p := range f.phones {
		s := f.session(t, p)
		places[p.name] = place{s.Server, s.Generation, s.State}
	}
	return places
}

// node is a host as it says itself.
func (f *fleet) node(t *testing.T, h *host) api.Node {
	t.Helper()
	node, err := h.api.Node(t.Context())
	require.NoError(t, err)
	return node
}

// logged is what the hosts' logs say that each key has used since a time.
func (f *fleet) logged(t *testing.T, since time.Time) map[registry.Key]traffic {
	t.Helper()
	sums := make(map[registry.Key]traffic)
	for _, h := range f.hosts {
		report, err := h.api.Usage(t.Context(), client.UsageQuery{From: since, To: time.Now()})
		require.NoError(t, err)
		require.Empty(t, report.Damage)
		for _, u := range report.Usages {
			sum := sums[registry.Key(u.Peer)]
			sum.download += int64(u.Download)
			sum.upload += int64(u.Upload)
			sums[registry.Key(u.Peer)] = sum
		}
	}
	return sums
}
