package registrytest

import (
	"context"
	"errors"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/registry"
)

var watchTests = map[string]func(*env){
	"begins with each server and goes on with changes": func(e *env) {
		a, b := e.join("a"), e.join("b")
		next, stop := e.watch()
		defer stop()
		seen := map[registry.ID]bool{}
		for len(seen) < 2 {
			c := next()
			require.False(e, c.Gone)
			seen[c.Server.ID] = true
		}
		require.True(e, seen[a.Server] && seen[b.Server])

		until := func(what string, ok func(registry.Change) bool) {
			e.Helper()
			for range 1000 {
				if ok(next()) {
					return
				}
			}
			e.Fatalf("no change was: %s", what)
		}
		a.status.Health = registry.Failing
		a.beat()
		until("failing", func(c registry.Change) bool { return c.Server.ID == a.Server && c.Server.Health == registry.Failing })
		require.NoError(e, b.reg.Drain(e.ctx, b.Server, true))
		until("draining", func(c registry.Change) bool { return c.Server.ID == b.Server && c.Server.Draining })
		n := e.join("c")
		until("new", func(c registry.Change) bool { return c.Server.ID == n.Server && c.Server.Name == "c" })
		require.NoError(e, a.reg.Deregister(e.ctx, a.Server))
		until("gone", func(c registry.Change) bool { return c.Server.ID == a.Server && c.Gone })
		a.register()
		until("back", func(c registry.Change) bool { return c.Server.ID == a.Server && !c.Gone })
	},
	"a slow reader gets the latest": func(e *env) {
		n := e.join("a")
		next, stop := e.watch()
		defer stop()
		require.Equal(e, n.Server, next().Server.ID)
		for i := range 50 {
			n.status.Peers = i + 1
			n.beat()
		}
		for peers := 0; peers < 50; {
			c := next()
			require.GreaterOrEqual(e, c.Server.Peers, peers, "never back")
			peers = c.Server.Peers
		}
	},
	"two who watch see the same": func(e *env) {
		n := e.join("a")
		one, stopOne := e.watch()
		defer stopOne()
		two, stopTwo := e.watch()
		defer stopTwo()
		require.Equal(e, n.Server, one().Server.ID)
		require.Equal(e, n.Server, two().Server.ID)
	},
	"ends with its context": func(e *env) {
		e.join("a")
		next, stop := e.watch()
		next()
		stop()
	},
	"ends when the reader has enough": func(e *env) {
		e.join("a")
		for _, err := range e.Directory.Watch(e.ctx) {
			require.NoError(e, err)
			break
		}
	},
}

// watch reads changes in a goroutine. stop ends it and waits for that.
func (e *env) watch() (next func() registry.Change, stop func()) {
	ctx, cancel := context.WithCancel(e.ctx)
	changes := make(chan registry.Change)
	failed := make(chan error, 1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for c, err := range e.Directory.Watch(ctx) {
			if err != nil {
				if ctx.Err() == nil {
					failed <- err
				}
				return
			}
			select {
			case changes <- c:
			case <-ctx.Done():
				return
			}
		}
		if ctx.Err() == nil {
			failed <- errors.New("the watch ended by itself")
		}
	}()
	next = func() registry.Change {
		e.Helper()
		select {
		case c := <-changes:
			return c
		case err := <-failed:
			require.NoError(e, err)
		case <-e.ctx.Done():
			e.Fatal("no change arrived")
		case <-time.After(time.Minute):
			e.Fatal("no change arrived")
		}
		return registry.Change{}
	}
	return next, func() { cancel(); <-done }
}
