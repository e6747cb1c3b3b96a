package registrytest

import (
	"encoding/json"
	"net/netip"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/registry"
)

var sessionTests = map[string]func(*env){
	"begins on the server that the rule draws for its ID": func(e *env) {
		for i := range 5 {
			e.join(name("n", i))
		}
		for i := range 10 {
			servers, err := e.Directory.List(e.ctx, registry.Filter{})
			require.NoError(e, err)
			r := request(name("user", i))
			s := e.begin(r)
			want := registry.Select(servers, registry.Query{SessionKey: string(s.ID)}, servers[0].HeartbeatAt)
			require.Equal(e, want.Server.ID, s.Server)
			require.Equal(e, want.Server.Assigned+1, e.owner(s).server().Assigned)
		}
	},
	"has what was asked for": func(e *env) {
		e.join("fra-1", everything)
		r := request("ann")
		r.Query = registry.Query{
			Region: "eu-central", Pool: "gold", Features: []string{"ipv6"}, Family: 6, Position: &registry.Position{Latitude: 1, Longitude: 2},
			Slack: 20_000, Exclude: []registry.ID{nobody}, Freshness: 120, MaxLoad: 0.5,
		}
		r.Peer = json.RawMessage(`{"speed_limit":{"download":20000000},"name":"phone"}`)
		expires := time.Now().Add(24 * time.Hour).UTC().Truncate(time.Second)
		r.ExpiresAt = expires
		s := e.begin(r)
		require.NoError(e, s.ID.Validate())
		require.Equal(e, r.User, s.User)
		require.Equal(e, r.IdempotencyKey, s.IdempotencyKey)
		require.Equal(e, r.PublicKey, s.PublicKey)
		sameJSON(e.T, r.Query, s.Query)
		require.JSONEq(e, string(r.Peer), string(s.Peer))
		require.Equal(e, registry.Placing, s.State)
		require.EqualValues(e, 1, s.Generation)
		require.Empty(e, s.Addresses)
		require.False(e, s.CreatedAt.IsZero())
		require.False(e, s.PlacedAt.Before(s.CreatedAt))
		require.True(e, s.ConfirmedAt.IsZero())
		require.True(e, s.ExpiresAt.Equal(expires), s.ExpiresAt)
		require.True(e, s.EndedAt.IsZero())

		addresses := []netip.Addr{netip.MustParseAddr("10.0.0.7"), netip.MustParseAddr("fd00::7")}
		for range 2 {
			confirmed, err := e.Sessions.Confirm(e.ctx, s.ID, 1, addresses)
			require.NoError(e, err)
			require.Equal(e, registry.Active, confirmed.State)
			require.Equal(e, addresses, confirmed.Addresses)
			require.False(e, confirmed.ConfirmedAt.Before(confirmed.PlacedAt))
			require.Equal(e, s.Server, confirmed.Server)
		}

		ended, err := e.Sessions.End(e.ctx, s.ID, "cancelled")
		require.NoError(e, err)
		require.Equal(e, registry.Ended, ended.State)
		require.Equal(e, "cancelled", ended.EndReason)
		require.False(e, ended.EndedAt.Before(s.CreatedAt))
		require.Equal(e, s.Server, ended.Server)
	},
	"asked for again is the one there is": func(e *env) {
		e.join("a")
		e.join("b")
		r := request("ann")
		s := e.begin(r)
		again := e.begin(r)
		require.Equal(e, s.ID, again.ID)
		require.Equal(e, s.Server, again.Server)
		require.Equal(e, 1, e.owner(s).server().Assigned)
		e.active(r)
		require.Equal(e, registry.Active, e.begin(r).State)
		_, err := e.Sessions.End(e.ctx, s.ID, "over")
		require.NoError(e, err)
		again = e.begin(r)
		require.Equal(e, s.ID, again.ID, "an ended session, too")
		require.Equal(e, registry.Ended, again.State)
		require.Equal(e, "over", again.EndReason)
	},
	"asked for again in vain where no server is left": func(e *env) {
		n := e.join("a")
		s := e.active(request("ann"))
		require.NoError(e, n.reg.Deregister(e.ctx, n.Server))
		require.Equal(e, s.ID, e.begin(request("ann")).ID)
	},
	"an idempotency key is of one public key": func(e *env) {
		e.join("a")
		e.begin(request("ann"))
		r := request("ann")
		r.PublicKey = key("other")
		_, err := e.Sessions.Begin(e.ctx, r)
		require.ErrorIs(e, err, registry.ErrConflict)
		r.User = "bob" // whose key of the same name is another
		e.begin(r)
	},
	"a public key has one session": func(e *env) {
		e.join("a")
		s := e.begin(request("ann"))
		r := request("ann")
		r.IdempotencyKey = "second"
		_, err := e.Sessions.Begin(e.ctx, r)
		require.ErrorIs(e, err, registry.ErrConflict)
		r.User = "bob"
		_, err = e.Sessions.Begin(e.ctx, r)
		require.ErrorIs(e, err, registry.ErrConflict, "of all users")
		_, err = e.Sessions.End(e.ctx, s.ID, "")
		require.NoError(e, err)
		require.NotEqual(e, s.ID, e.begin(r).ID)
	},
	"where no server fits leaves nothing behind": func(e *env) {
		r := request("ann")
		_, err := e.Sessions.Begin(e.ctx, r)
		require.ErrorIs(e, err, registry.ErrNoServer)
		e.join("a")
		r.IdempotencyKey = "second"
		e.begin(r)
		other := request("bob")
		other.Query.Region = "nowhere"
		_, err = e.Sessions.Begin(e.ctx, other)
		require.ErrorIs(e, err, registry.ErrNoServer)
		other.Query.Region, other.PublicKey = "", key("another")
		e.begin(other)
	},
	"is refused when invalid": func(e *env) {
		e.join("a")
		for what, edit := range map[string]func(*registry.NewSession){
			"user":        func(r *registry.NewSession) { r.User = "" },
			"idempotency": func(r *registry.NewSession) { r.IdempotencyKey = "" },
			"key":         func(r *registry.NewSession) { r.PublicKey = registry.Key{} },
			"session key": func(r *registry.NewSession) { r.Query.SessionKey = "mine" },
			"query":       func(r *registry.NewSession) { r.Query.Family = 5 },
		} {
			r := request("ann")
			edit(&r)
			_, err := e.Sessions.Begin(e.ctx, r)
			require.ErrorIs(e, err, registry.ErrInvalid, what)
		}
	},
	"that is not known": func(e *env) {
		e.join("a")
		_, err := e.Sessions.Confirm(e.ctx, nobody, 1, nil)
		require.ErrorIs(e, err, registry.ErrUnknownSession)
		_, err = e.Sessions.Move(e.ctx, nobody, 1)
		require.ErrorIs(e, err, registry.ErrUnknownSession)
		_, err = e.Sessions.End(e.ctx, nobody, "")
		require.ErrorIs(e, err, registry.ErrUnknownSession)
	},
	"that has ended stays so": func(e *env) {
		e.join("a")
		e.join("b")
		s := e.active(request("ann"))
		_, err := e.Sessions.End(e.ctx, s.ID, "first")
		require.NoError(e, err)
		again, err := e.Sessions.End(e.ctx, s.ID, "second")
		require.NoError(e, err)
		require.Equal(e, "first", again.EndReason)
		_, err = e.Sessions.Confirm(e.ctx, s.ID, 1, nil)
		require.ErrorIs(e, err, registry.ErrConflict)
		_, err = e.Sessions.Move(e.ctx, s.ID, 1)
		require.ErrorIs(e, err, registry.ErrConflict)
		require.Zero(e, e.owner(s).server().Assigned)
	},
	"counts as taken room at once": func(e *env) {
		n := e.join("a", func(r *registry.Registration) { r.Capacity.Peers = 2 })
		s := e.begin(request("ann"))
		e.begin(request("bob"))
		_, err := e.Sessions.Begin(e.ctx, request("eve"))
		require.ErrorIs(e, err, registry.ErrNoServer)
		require.Equal(e, 2, n.server().Assigned)
		_, err = e.Sessions.End(e.ctx, s.ID, "")
		require.NoError(e, err)
		e.begin(request("eve"))
	},
}

var moveTests = map[string]func(*env){
	"is to another server in the next generation": func(e *env) {
		e.join("a")
		e.join("b")
		s := e.active(request("ann"))
		moved, err := e.Sessions.Move(e.ctx, s.ID, 1)
		require.NoError(e, err)
		require.NotEqual(e, s.Server, moved.Server)
		require.EqualValues(e, 2, moved.Generation)
		require.Equal(e, registry.Placing, moved.State)
		require.True(e, moved.ConfirmedAt.IsZero(), "that was of the former server")
		require.Equal(e, s.Addresses, moved.Addresses, "to be asked for again")
		require.Equal(e, s.PublicKey, moved.PublicKey)
		require.Zero(e, e.owner(s).server().Assigned)
		require.Equal(e, 1, e.owner(moved).server().Assigned)

		_, err = e.Sessions.Confirm(e.ctx, s.ID, 1, nil)
		require.ErrorIs(e, err, registry.ErrConflict, "of the former generation")
		confirmed, err := e.Sessions.Confirm(e.ctx, s.ID, 2, s.Addresses)
		require.NoError(e, err)
		require.Equal(e, registry.Active, confirmed.State)
		require.False(e, confirmed.ConfirmedAt.IsZero())
	},
	"takes the generation that there is": func(e *env) {
		e.join("a")
		e.join("b")
		s := e.begin(request("ann"))
		_, err := e.Sessions.Move(e.ctx, s.ID, 2)
		require.ErrorIs(e, err, registry.ErrConflict)
		_, err = e.Sessions.Move(e.ctx, s.ID, 1)
		require.NoError(e, err)
		_, err = e.Sessions.Move(e.ctx, s.ID, 1)
		require.ErrorIs(e, err, registry.ErrConflict)
		require.EqualValues(e, 2, e.begin(request("ann")).Generation)
	},
	"without another server leaves it where it was": func(e *env) {
		n := e.join("a")
		s := e.active(request("ann"))
		_, err := e.Sessions.Move(e.ctx, s.ID, 1)
		require.ErrorIs(e, err, registry.ErrNoServer)
		again := e.begin(request("ann"))
		require.Equal(e, s.Server, again.Server)
		require.EqualValues(e, 1, again.Generation)
		require.Equal(e, registry.Active, again.State)
		require.Empty(e, n.takeReleases())
		require.Equal(e, 1, n.server().Assigned)
	},
	"goes to none that is excluded": func(e *env) {
		e.join("a")
		e.join("b")
		c := e.join("c")
		r := request("ann")
		r.Query.Exclude = []registry.ID{c.Server}
		s := e.begin(r)
		moved, err := e.Sessions.Move(e.ctx, s.ID, 1)
		require.NoError(e, err)
		require.NotEqual(e, c.Server, moved.Server)
		_, err = e.Sessions.Move(e.ctx, s.ID, 2, s.Server)
		require.ErrorIs(e, err, registry.ErrNoServer)
		back, err := e.Sessions.Move(e.ctx, s.ID, 2)
		require.NoError(e, err)
		require.Equal(e, s.Server, back.Server, "back is allowed")
		require.EqualValues(e, 3, back.Generation)
	},
	"stays within what the query demands": func(e *env) {
		e.join("a", func(r *registry.Registration) { r.Pool = "gold" })
		e.join("b")
		r := request("ann")
		r.Query.Pool = "gold"
		s := e.begin(r)
		_, err := e.Sessions.Move(e.ctx, s.ID, 1)
		require.ErrorIs(e, err, registry.ErrNoServer)
		c := e.join("c", func(r *registry.Registration) { r.Pool = "gold" })
		moved, err := e.Sessions.Move(e.ctx, s.ID, 1)
		require.NoError(e, err)
		require.Equal(e, c.Server, moved.Server)
	},
	"goes to an overloaded server rather than to none when its own is silent": func(e *env) {
		n := e.join("a")
		s := e.begin(request("ann"))
		other := e.join("b")
		other.status.Load.Score = 1
		other.beat()
		_, err := e.Sessions.Move(e.ctx, s.ID, 1)
		require.ErrorIs(e, err, registry.ErrNoServer, "its own serves it")
		e.Advance(registry.DefaultFreshness + time.Second)
		other.beat()
		moved, err := e.Sessions.Move(e.ctx, s.ID, 1)
		require.NoError(e, err)
		require.Equal(e, other.Server, moved.Server)
		require.Len(e, n.takeReleases(), 1)
	},
	"is drawn anew by the rule, whatever server the client had when it began": func(e *env) {
		a := e.join("a")
		for i := range 4 {
			e.join(name("n", i))
		}
		for i := range 8 {
			r := request(name("user", i))
			r.Query.Current = a.Server
			s := e.begin(r)
			require.Equal(e, a.Server, s.Server)
			for range 3 {
				servers, err := e.Directory.List(e.ctx, registry.Filter{})
				require.NoError(e, err)
				q := registry.Query{SessionKey: string(s.ID), Exclude: []registry.ID{s.Server}}
				want := registry.Select(servers, q, servers[0].HeartbeatAt)
				s, err = e.Sessions.Move(e.ctx, s.ID, s.Generation)
				require.NoError(e, err)
				require.Equal(e, want.Server.ID, s.Server)
			}
		}
	},
}
