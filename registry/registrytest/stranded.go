package registrytest

import (
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/registry"
)

var strandedTests = map[string]func(*env){
	"are those of a silent server": func(e *env) {
		a := e.join("a")
		s := e.active(request("ann"))
		require.Empty(e, e.stranded(0))
		e.Advance(long)
		require.Equal(e, []registry.SessionID{s.ID}, e.stranded(0))
		require.Empty(e, e.stranded(2*long), "which is patient")
		a.beat()
		require.Empty(e, e.stranded(0), "it is there again")
	},
	"are those of a server that drains": func(e *env) {
		a := e.join("a")
		s := e.active(request("ann"))
		require.NoError(e, a.reg.Drain(e.ctx, a.Server, true))
		require.Equal(e, []registry.SessionID{s.ID}, e.stranded(0))
		require.NoError(e, a.reg.Drain(e.ctx, a.Server, false))
		require.Empty(e, e.stranded(0))
		if e.SetDraining != nil {
			require.NoError(e, e.SetDraining(e.ctx, a.Server, true))
			require.Equal(e, []registry.SessionID{s.ID}, e.stranded(0))
		}
	},
	"are those of a server that has left": func(e *env) {
		a := e.join("a")
		s := e.active(request("ann"))
		require.NoError(e, a.reg.Deregister(e.ctx, a.Server))
		require.Equal(e, []registry.SessionID{s.ID}, e.stranded(0))
		a.register()
		require.Empty(e, e.stranded(0))
	},
	"are those that nobody confirmed": func(e *env) {
		a := e.join("a")
		s := e.begin(request("ann"))
		require.Empty(e, e.stranded(0), "there is time")
		e.Advance(long)
		a.beat()
		require.Equal(e, []registry.SessionID{s.ID}, e.stranded(0))
		e.active(request("ann"))
		require.Empty(e, e.stranded(0))
	},
	"are those whose time is over": func(e *env) {
		a := e.join("a")
		now := a.beat().Now
		r := request("ann")
		r.ExpiresAt = now.Add(time.Hour)
		s := e.active(r)
		require.Empty(e, e.stranded(0))
		e.Advance(time.Hour + time.Minute)
		a.beat()
		require.Equal(e, []registry.SessionID{s.ID}, e.stranded(0))
	},
	"are none that has ended": func(e *env) {
		e.join("a")
		s := e.active(request("ann"))
		_, err := e.Sessions.End(e.ctx, s.ID, "")
		require.NoError(e, err)
		e.Advance(long)
		require.Empty(e, e.stranded(0))
	},
	"come with the oldest placement first": func(e *env) {
		e.join("a")
		e.join("b")
		var want []registry.SessionID
		for i := range 5 {
			want = append(want, e.active(request(name("user", i))).ID)
			e.Advance(time.Second)
		}
		first := e.begin(request(name("user", 0)))
		_, err := e.Sessions.Move(e.ctx, first.ID, first.Generation)
		require.NoError(e, err)
		want = append(want[1:], want[0])
		e.Advance(long)
		require.Equal(e, want, e.stranded(0))
		some, err := e.Sessions.Stranded(e.ctx, 0, 2)
		require.NoError(e, err)
		require.Len(e, some, 2)
		require.Equal(e, want[0], some[0].ID)
		require.Equal(e, want[1], some[1].ID)
	},
}
