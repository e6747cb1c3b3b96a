package registrytest

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/registry"
)

var releaseTests = map[string]func(*env){
	"tell a server that a session has moved": func(e *env) {
		e.join("a")
		e.join("b")
		s := e.active(request("ann"))
		moved, err := e.Sessions.Move(e.ctx, s.ID, 1)
		require.NoError(e, err)
		from, to := e.owner(s), e.owner(moved)
		want := []registry.Release{{Sequence: 1, Session: s.ID, Generation: 1, PublicKey: s.PublicKey}}
		require.Equal(e, want, from.beat().Releases)
		require.Equal(e, want, from.beat().Releases, "until it has carried it out")
		from.released = 1
		require.Empty(e, from.beat().Releases)
		require.Empty(e, to.beat().Releases)
	},
	"tell a server that a session has ended": func(e *env) {
		n := e.join("a")
		s := e.active(request("ann"))
		_, err := e.Sessions.End(e.ctx, s.ID, "over")
		require.NoError(e, err)
		_, err = e.Sessions.End(e.ctx, s.ID, "over")
		require.NoError(e, err)
		require.Equal(e, []registry.Release{{Sequence: 1, Session: s.ID, Generation: 1, PublicKey: s.PublicKey}}, n.takeReleases())
	},
	"are of placements that nobody confirmed, too": func(e *env) {
		e.join("a")
		e.join("b")
		s := e.begin(request("ann"))
		moved, err := e.Sessions.Move(e.ctx, s.ID, 1)
		require.NoError(e, err)
		require.Len(e, e.owner(s).takeReleases(), 1)
		_, err = e.Sessions.End(e.ctx, s.ID, "")
		require.NoError(e, err)
		require.Equal(e,
			[]registry.Release{{Sequence: 1, Session: s.ID, Generation: 2, PublicKey: s.PublicKey}}, e.owner(moved).takeReleases())
	},
	"wait for a server that is silent": func(e *env) {
		e.join("a")
		e.join("b")
		s := e.active(request("ann"))
		silent := e.owner(s)
		e.Advance(100 * long)
		e.beatAll(silent)
		require.Equal(e, []registry.SessionID{s.ID}, e.stranded(0))
		moved, err := e.Sessions.Move(e.ctx, s.ID, 1)
		require.NoError(e, err)
		require.NotEqual(e, silent.Server, moved.Server)
		e.Advance(100 * long)
		want := []registry.Release{{Sequence: 1, Session: s.ID, Generation: 1, PublicKey: s.PublicKey}}
		require.Equal(e, want, silent.beat().Releases, "it was cut off")
		silent.register()
		require.Equal(e, want, silent.takeReleases(), "it was restarted")
		silent.register()
		require.Empty(e, silent.takeReleases())
	},
	"wait for a server that has left": func(e *env) {
		e.join("a")
		e.join("b")
		s := e.active(request("ann"))
		away := e.owner(s)
		require.NoError(e, away.reg.Deregister(e.ctx, away.Server))
		_, err := e.Sessions.Move(e.ctx, s.ID, 1)
		require.NoError(e, err)
		away.register()
		require.Len(e, away.takeReleases(), 1)
	},
	"count on without gaps": func(e *env) {
		n := e.join("a")
		for i := range 6 {
			s := e.active(request(name("user", i)))
			_, err := e.Sessions.End(e.ctx, s.ID, "")
			require.NoError(e, err)
			if i%2 == 1 {
				releases := n.takeReleases()
				require.Len(e, releases, 2)
				require.EqualValues(e, i, releases[0].Sequence)
				require.EqualValues(e, i+1, releases[1].Sequence)
				require.Equal(e, s.ID, releases[1].Session)
			}
		}
	},
	"that a late heartbeat would have again": func(e *env) {
		n := e.join("a")
		s := e.active(request("ann"))
		_, err := e.Sessions.End(e.ctx, s.ID, "")
		require.NoError(e, err)
		before := n.heartbeat()
		n.takeReleases()
		answer, err := n.reg.Heartbeat(e.ctx, before)
		require.NoError(e, err)
		for _, r := range answer.Releases { // to have them again is harmless, to have others is not
			require.Equal(e, registry.Release{Sequence: 1, Session: s.ID, Generation: 1, PublicKey: s.PublicKey}, r)
		}
		require.Empty(e, n.takeReleases())
	},
	"that are many come in parts": func(e *env) {
		if testing.Short() {
			e.Skip("begins and ends a thousand sessions")
		}
		n := e.join("a")
		const all = registry.MaxReleases + 1
		for i := range all {
			r := request("ann")
			r.IdempotencyKey = name("", i)
			s := e.begin(r)
			_, err := e.Sessions.End(e.ctx, s.ID, "")
			require.NoError(e, err)
		}
		answer := n.beat()
		require.Len(e, answer.Releases, registry.MaxReleases)
		require.True(e, answer.More)
		n.released = registry.MaxReleases
		answer = n.beat()
		require.False(e, answer.More)
		require.Len(e, answer.Releases, 1)
		require.EqualValues(e, all, answer.Releases[0].Sequence)
	},
	"come again, with other numbers, to a server that has released what it was never told": func(e *env) {
		// So it looks to a registry that was restored from a backup, or that a standby has taken over which was behind.
		n := e.join("a")
		n.endSessions("told", 2)
		require.Len(e, n.beat().Releases, 2)
		fresh := n.endSessions("new", 4) // numbers 3 to 6, of which 3 and 4 are others' to the node
		n.released = 4
		releases := n.beat().Releases
		requireAbove(e, 4, releases)
		require.Equal(e, fresh, lastOf(releases, 4), "and perhaps those before once more")
		require.Equal(e, releases, n.beat().Releases, "until it has carried them out")
		n.released = releases[len(releases)-1].Sequence
		require.Empty(e, n.beat().Releases)
		later := n.endSessions("later", 1)
		require.Equal(e, later, sessionsOf(n.takeReleases()))
	},
	"get numbers that a server has not passed, when it knows higher ones than there are": func(e *env) {
		n := e.join("a")
		n.released = 1000
		require.Empty(e, n.beat().Releases)
		fresh := n.endSessions("new", 2)
		releases := n.beat().Releases
		requireAbove(e, 1000, releases)
		require.Equal(e, fresh, sessionsOf(releases))
		n.register() // it was restarted
		require.Equal(e, releases, n.takeReleases())
		require.Empty(e, n.takeReleases())
	},
	"that many wait come in parts with other numbers, too": func(e *env) {
		if testing.Short() {
			e.Skip("begins and ends a thousand sessions")
		}
		n := e.join("a")
		fresh := n.endSessions("new", registry.MaxReleases+1)
		n.released = 7
		require.Equal(e, fresh, sessionsOf(n.takeReleases()))
	},
	"are not numbered beyond all bounds for a node that is wrong": func(e *env) {
		n := e.join("a")
		n.sequence++
		h := n.heartbeat()
		h.Released = registry.MaxReleased + 1
		_, err := n.reg.Heartbeat(e.ctx, h)
		require.ErrorIs(e, err, registry.ErrInvalid)
	},
	"name keys as JSON has them": func(e *env) {
		n := e.join("a")
		s := e.active(request("ann"))
		_, err := e.Sessions.End(e.ctx, s.ID, "")
		require.NoError(e, err)
		text, err := n.beat().Releases[0].PublicKey.MarshalText()
		require.NoError(e, err)
		require.Equal(e, keyText(s.PublicKey), string(text))
	},
}

// endSessions begins so many sessions on the only node and ends them, and returns them in that order.
func (n *node) endSessions(prefix string, many int) []registry.SessionID {
	n.Helper()
	var ids []registry.SessionID
	for i := range many {
		s := n.begin(request(name(prefix, i)))
		_, err := n.Sessions.End(n.ctx, s.ID, "")
		require.NoError(n, err)
		ids = append(ids, s.ID)
	}
	return ids
}

func sessionsOf(releases []registry.Release) []registry.SessionID {
	var ids []registry.SessionID
	for _, r := range releases {
		ids = append(ids, r.Session)
	}
	return ids
}

// lastOf are the sessions of the last n releases.
func lastOf(releases []registry.Release, n int) []registry.SessionID {
	ids := sessionsOf(releases)
	return ids[max(0, len(ids)-n):]
}

// requireAbove requires releases that count on, above a number.
func requireAbove(e *env, number int64, releases []registry.Release) {
	e.Helper()
	require.NotEmpty(e, releases)
	require.Greater(e, releases[0].Sequence, number)
	for i, r := range releases {
		require.Equal(e, releases[0].Sequence+int64(i), r.Sequence)
	}
}
