package registrytest

import (
	"errors"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/registry"
)

var randomTests = map[string]func(*env){
	"whatever happens, the books balance": func(e *env) {
		seed := rand.Uint64()
		e.Logf("seed %d", seed)
		b := &books{
			env: e, random: rand.New(rand.NewPCG(seed, 0)), sessions: make(map[registry.SessionID]registry.Session),
			owed: make(map[registry.ID][]registry.Release), silent: make(map[*node]bool), left: make(map[*node]bool),
		}
		for i := range 4 {
			e.join(name("n", i), func(r *registry.Registration) {
				r.Pool = []string{"", "gold"}[i%2]
				r.Capacity.Peers = 6
			})
		}
		steps := 400
		if testing.Short() {
			steps = 100
		}
		for range steps {
			b.step()
		}
		for _, n := range e.nodes {
			b.settle(n)
		}
		b.check()
	},
}

// books are what must be so, by what the fleet has answered so far.
type books struct {
	*env
	random   *rand.Rand
	users    int
	sessions map[registry.SessionID]registry.Session // as they were last seen
	owed     map[registry.ID][]registry.Release      // by each server, not acknowledged
	released map[registry.ID]int64
	silent   map[*node]bool
	left     map[*node]bool
}

// step does one thing at random, and looks whether the fleet still agrees.
func (b *books) step() {
	n := b.nodes[b.random.IntN(len(b.nodes))]
	s := b.some()
	switch what := b.random.IntN(12); {
	case what < 3:
		b.start()
	case what < 5 && s != nil:
		b.move(*s)
	case what == 5 && s != nil:
		ended, err := b.Sessions.End(b.ctx, s.ID, "over")
		require.NoError(b, err)
		b.changed(ended)
	case what == 6 && s != nil:
		confirmed, err := b.Sessions.Confirm(b.ctx, s.ID, s.Generation, []netip.Addr{netip.MustParseAddr("10.0.0.2")})
		require.NoError(b, err)
		require.Equal(b, registry.Active, confirmed.State)
		b.changed(confirmed)
	case what == 7 && !b.left[n]:
		n.draining = !n.draining
		require.NoError(b, n.reg.Drain(b.ctx, n.Server, n.draining))
	case what == 8:
		if b.left[n] = !b.left[n]; b.left[n] {
			require.NoError(b, n.reg.Deregister(b.ctx, n.Server))
			break
		}
		n.register()
		n.beat()
		b.silent[n] = false
	case what == 9 && !b.left[n]:
		n.register()
		n.beat()
		b.silent[n] = false
	case what == 10:
		b.Advance(long)
		for _, other := range b.nodes {
			b.silent[other] = true
		}
	case !b.left[n]:
		b.settle(n)
	}
	b.check()
}

// some is one of the sessions that have not ended, if there is any.
func (b *books) some() *registry.Session {
	var live []registry.Session
	for _, s := range b.sessions {
		if s.State != registry.Ended {
			live = append(live, s)
		}
	}
	if len(live) == 0 {
		return nil
	}
	slices.SortFunc(live, func(s, t registry.Session) int { return strings.Compare(s.User, t.User) })
	return &live[b.random.IntN(len(live))]
}

func (b *books) start() {
	r := request(name("user", b.users))
	r.Query.Pool = []string{"", "gold"}[b.random.IntN(2)]
	s, err := b.Sessions.Begin(b.ctx, r)
	if !errors.Is(err, registry.ErrNoServer) {
		require.NoError(b, err)
		b.users++
		b.changed(s)
		return
	}
	require.Empty(b, b.able(r.Query.Pool, ""), "a server is there")
}

func (b *books) move(s registry.Session) {
	moved, err := b.Sessions.Move(b.ctx, s.ID, s.Generation)
	if errors.Is(err, registry.ErrNoServer) {
		require.Empty(b, b.able(s.Query.Pool, s.Server), "a server is there")
		return
	}
	require.NoError(b, err)
	require.NotEqual(b, s.Server, moved.Server)
	require.Equal(b, s.Generation+1, moved.Generation)
	b.changed(moved)
	_, err = b.Sessions.Move(b.ctx, s.ID, s.Generation)
	require.ErrorIs(b, err, registry.ErrConflict)
}

// changed notes what a session has become, and who has to release it for that.
func (b *books) changed(s registry.Session) {
	before, known := b.sessions[s.ID]
	if known && (s.Generation != before.Generation || s.State == registry.Ended && before.State != registry.Ended) {
		if b.released == nil {
			b.released = make(map[registry.ID]int64)
		}
		b.released[before.Server]++
		b.owed[before.Server] = append(b.owed[before.Server], registry.Release{
			Sequence: b.released[before.Server], Session: s.ID, Generation: before.Generation, PublicKey: s.PublicKey,
		})
	}
	b.sessions[s.ID] = s
}

// settle has a node learn what it is to release: that, and nothing else.
func (b *books) settle(n *node) {
	if b.left[n] {
		return
	}
	want := b.owed[n.Server]
	got := n.takeReleases()
	require.Equal(b, want, got)
	b.owed[n.Server] = nil
	b.silent[n] = false
}

// able are the servers that could take a session, by the books.
func (b *books) able(pool string, but registry.ID) []string {
	var names []string
	for _, n := range b.nodes {
		if n.registration.Pool == pool && n.Server != but && !b.left[n] && !b.silent[n] && !n.draining && b.assigned(n) < n.registration.Capacity.Peers {
			names = append(names, n.registration.Name)
		}
	}
	return names
}

func (b *books) assigned(n *node) int {
	count := 0
	for _, s := range b.sessions {
		if s.Server == n.Server && s.State != registry.Ended {
			count++
		}
	}
	return count
}

// check compares the books with what the fleet says.
func (b *books) check() {
	servers, err := b.Directory.List(b.ctx, registry.Filter{})
	require.NoError(b, err)
	byID := make(map[registry.ID]registry.Server)
	for _, s := range servers {
		byID[s.ID] = s
	}
	want := make(map[registry.SessionID]bool)
	for _, n := range b.nodes {
		s, listed := byID[n.Server]
		require.Equal(b, !b.left[n], listed)
		if listed {
			require.Equal(b, b.assigned(n), s.Assigned, n.registration.Name)
			require.LessOrEqual(b, s.Assigned, s.Capacity.Peers)
			require.Equal(b, n.draining, s.Draining)
		}
		for _, session := range b.sessions {
			if session.Server == n.Server && session.State != registry.Ended && (b.left[n] || b.silent[n] || n.draining) {
				want[session.ID] = true
			}
		}
	}
	// Those that nobody has confirmed in time are for the other tests: here time passes for all at once.
	got := make(map[registry.SessionID]bool)
	stranded, err := b.Sessions.Stranded(b.ctx, 0, 1000)
	require.NoError(b, err)
	for _, s := range stranded {
		require.NotEqual(b, registry.Ended, s.State)
		require.Equal(b, b.sessions[s.ID].Generation, s.Generation)
		require.Equal(b, b.sessions[s.ID].Server, s.Server)
		if s.State == registry.Active || want[s.ID] {
			got[s.ID] = true
		}
	}
	require.Equal(b, slices.Sorted(maps.Keys(want)), slices.Sorted(maps.Keys(got)))
}
