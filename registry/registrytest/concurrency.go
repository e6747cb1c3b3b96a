package registrytest

import (
	"errors"
	"net/netip"
	"sync"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/registry"
)

// together runs something n times at once and returns the errors.
func together(n int, do func(i int) error) []error {
	errs := make([]error, n)
	start := make(chan struct{})
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			<-start
			errs[i] = do(i)
		})
	}
	close(start)
	wg.Wait()
	return errs
}

// beginTogether asks for one session n times at once, and returns the one that all have got.
func (e *env) beginTogether(n int, user string) registry.Session {
	e.Helper()
	sessions := make([]registry.Session, n)
	for _, err := range together(n, func(i int) (err error) {
		sessions[i], err = e.Sessions.Begin(e.ctx, request(user))
		return err
	}) {
		require.NoError(e, err)
	}
	for _, s := range sessions {
		require.Equal(e, sessions[0], s)
	}
	return sessions[0]
}

// count is how many of the errors are nil, and how many are a target; there must be no others.
func (e *env) count(errs []error, target error) (none, some int) {
	e.Helper()
	for _, err := range errs {
		switch {
		case err == nil:
			none++
		case errors.Is(err, target):
			some++
		default:
			require.NoError(e, err)
		}
	}
	return none, some
}

var concurrencyTests = map[string]func(*env){
	"of those who begin with one key at once all have one session": func(e *env) {
		e.join("a")
		e.join("b")
		for round := range 8 {
			user := name("user", round)
			s := e.beginTogether(8, user)
			require.EqualValues(e, 1, s.Generation)
			require.Equal(e, round+1, e.nodes[0].server().Assigned+e.nodes[1].server().Assigned)
		}
	},
	"of those who begin with one key at once all have one session, even the last there is room for": func(e *env) {
		e.join("a", func(r *registry.Registration) { r.Capacity.Peers = 1 })
		for round := range 8 {
			s := e.beginTogether(8, name("user", round))
			require.Equal(e, 1, e.nodes[0].server().Assigned)
			_, err := e.Sessions.End(e.ctx, s.ID, "over")
			require.NoError(e, err)
		}
	},
	"of those who begin with one public key at once one has a session": func(e *env) {
		e.join("a")
		none, conflicts := e.count(together(8, func(i int) error {
			r := request("ann")
			r.IdempotencyKey = name("", i)
			_, err := e.Sessions.Begin(e.ctx, r)
			return err
		}), registry.ErrConflict)
		require.Equal(e, 1, none)
		require.Equal(e, 7, conflicts)
	},
	"of those who move at once one wins": func(e *env) {
		for i := range 5 {
			e.join(name("n", i))
		}
		s := e.active(request("ann"))
		for generation := int64(1); generation < 6; generation++ {
			none, conflicts := e.count(together(6, func(int) error {
				_, err := e.Sessions.Move(e.ctx, s.ID, generation)
				return err
			}), registry.ErrConflict)
			require.Equal(e, 1, none)
			require.Equal(e, 5, conflicts)
			require.Equal(e, generation+1, e.begin(request("ann")).Generation)
		}
		released, assigned := 0, 0
		for _, n := range e.nodes {
			released += len(n.takeReleases())
			assigned += n.server().Assigned
		}
		require.Equal(e, 5, released)
		require.Equal(e, 1, assigned)
	},
	"capacity is never exceeded": func(e *env) {
		for i := range 2 {
			e.join(name("n", i), func(r *registry.Registration) { r.Capacity.Peers = 3 + i })
		}
		none, full := e.count(together(20, func(i int) error {
			_, err := e.Sessions.Begin(e.ctx, request(name("user", i)))
			return err
		}), registry.ErrNoServer)
		require.Equal(e, 7, none)
		require.Equal(e, 13, full)
		for i, n := range e.nodes {
			require.Equal(e, 3+i, n.server().Assigned)
		}
	},
	"who ends, moves and confirms at once agree in the end": func(e *env) {
		for i := range 3 {
			e.join(name("n", i))
		}
		for round := range 8 {
			r := request(name("user", round))
			s := e.begin(r)
			e.count(together(6, func(i int) (err error) {
				switch i % 3 {
				case 0:
					_, err = e.Sessions.Move(e.ctx, s.ID, 1)
				case 1:
					_, err = e.Sessions.End(e.ctx, s.ID, "over")
				case 2:
					_, err = e.Sessions.Confirm(e.ctx, s.ID, 1, []netip.Addr{netip.MustParseAddr("10.0.0.2")})
				}
				return err
			}), registry.ErrConflict)
			s = e.begin(r)
			require.Equal(e, registry.Ended, s.State)
			placements := int64(0)
			for _, n := range e.nodes {
				require.Zero(e, n.server().Assigned)
				for _, release := range n.takeReleases() {
					require.Equal(e, s.ID, release.Session)
					placements++
				}
			}
			require.Equal(e, s.Generation, placements, "each placement was released")
		}
	},
	"releases come in the order of their sequence, none is left out": func(e *env) {
		n := e.join("a")
		const sessions = 24
		done := make(chan []error)
		go func() {
			done <- together(sessions, func(i int) error {
				s, err := e.Sessions.Begin(e.ctx, request(name("user", i)))
				if err != nil {
					return err
				}
				_, err = e.Sessions.End(e.ctx, s.ID, "")
				return err
			})
		}()
		var seen int64
		take := func() {
			for _, r := range n.takeReleases() {
				seen++
				require.Equal(e, seen, r.Sequence)
			}
		}
		for ended := false; !ended; {
			select {
			case errs := <-done:
				for _, err := range errs {
					require.NoError(e, err)
				}
				ended = true
			default:
				take()
			}
		}
		take()
		require.EqualValues(e, sessions, seen)
	},
	"a usage report that is sent twice at once counts once": func(e *env) {
		n := e.join("a")
		s := e.active(request("ann"))
		now := n.beat().Now
		for _, err := range together(6, func(int) error {
			_, err := n.reg.ReportUsage(e.ctx, registry.UsageReport{
				Server: n.Server, Sequence: 1, From: now, To: now, Usages: []registry.PeerUsage{used(s.PublicKey, 10, 1)},
			})
			return err
		}) {
			require.NoError(e, err)
		}
		e.uses(request("ann"), 10, 1)
	},
	"those who register at once have an incarnation each": func(e *env) {
		n := e.join("a")
		incarnations := make([]int64, 8)
		for _, err := range together(len(incarnations), func(i int) error {
			r, err := n.reg.Register(e.ctx, n.registration)
			incarnations[i] = r.Incarnation
			return err
		}) {
			require.NoError(e, err)
		}
		seen := make(map[int64]bool)
		for _, i := range incarnations {
			require.False(e, seen[i], "incarnation %d twice", i)
			seen[i] = true
		}
	},
}
