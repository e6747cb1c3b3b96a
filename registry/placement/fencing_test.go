package placement_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/waylume/waylume/registry"
	"github.com/waylume/waylume/registry/memory"
	"github.com/waylume/waylume/registry/placement"
)

// TestFencing holds docs/fleet-failover.md against a fleet in which every message may be lost, late, doubled or out of order, nodes
// are cut off and restarted, controllers end anywhere in the middle, and time passes as it likes, also in the middle of what a
// controller does. Then all is mended, and the fleet must come to rest in the one right state.
func TestFencing(t *testing.T) {
	t.Parallel()
	for i := range 10 { // what is rare takes more than the usual hundred fleets
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			rapid.Check(t, func(t *rapid.T) {
				w := newWorld(t)
				t.Repeat(w.actions)
				w.t = t
				w.mend()
				w.checkRest()
			})
		})
	}
}

func newWorld(t *rapid.T) *world {
	w := &world{
		t: t, ctx: context.Background(), now: time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC), served: make(map[registry.Key]int64),
		crashed: func() {},
	}
	fleet, err := memory.New(memory.Config{
		Now:   func() time.Time { return w.now },
		NewID: func() string { w.ids++; return w.id(w.ids) },
	})
	require.NoError(t, err)
	w.fleet = fleet
	w.quiet = true
	for i := range rapid.IntRange(2, 4).Draw(t, "nodes") {
		n := &simNode{
			w: w, name: nodeName(i), skew: time.Duration(i-1) * time.Hour, peers: make(map[registry.Key]place),
			fence: make(map[registry.SessionID]tombstone), forbidden: make(map[registry.SessionID]int64),
		}
		n.contact()
		w.nodes = append(w.nodes, n)
		w.held = append(w.held, nil)
	}
	w.quiet = false
	for i := range 3 {
		user := fmt.Sprintf("user-%d", i)
		w.clients = append(w.clients, &client{user: user, key: key(user)})
	}
	controllers := []*placement.Controller{w.controller(), w.controller()}
	w.actions = w.actionsOf(controllers)
	return w
}

func (w *world) id(i int) string { return fmt.Sprintf("00000000-0000-4000-8000-%012d", i) }

func (w *world) controller() *placement.Controller {
	l := link{w}
	c, err := placement.New(placement.Config{
		Sessions: l, Directory: l, Nodes: w, Now: func() time.Time { return w.now }, Concurrency: 1, Batch: 2,
		Timeout: time.Hour, CreateTimeout: time.Hour,
		Moved: func(_ context.Context, c placement.Connection) { w.tell(c) },
	})
	require.NoError(w.t, err)
	return c
}

// tell brings a configuration to its client, by a way on which it may be lost or overtaken.
func (w *world) tell(c placement.Connection) {
	for _, client := range w.clients {
		if client.user == c.Session.User {
			give := func() { client.give(c) }
			w.transmit("configuration", give, give)
		}
	}
}

func (w *world) request(c *client) registry.NewSession {
	return registry.NewSession{User: c.user, IdempotencyKey: fmt.Sprint(c.session), PublicKey: c.key}
}

func (w *world) actionsOf(controllers []*placement.Controller) map[string]func(*rapid.T) {
	node := func(t *rapid.T) *simNode { return rapid.SampledFrom(w.nodes).Draw(t, "node") }
	user := func(t *rapid.T) *client { return rapid.SampledFrom(w.clients).Draw(t, "user") }
	controller := func(t *rapid.T, do func(context.Context, *placement.Controller)) {
		ctx, cancel := context.WithCancel(w.ctx)
		defer cancel()
		w.crashed = cancel
		do(ctx, rapid.SampledFrom(controllers).Draw(t, "controller"))
	}
	beat := func(t *rapid.T) {
		if n := node(t); !n.cutControl && !w.outage {
			n.contact()
		}
	}
	actions := map[string]func(*rapid.T){
		"connect": func(t *rapid.T) {
			c := user(t)
			controller(t, func(ctx context.Context, controller *placement.Controller) { w.connect(ctx, controller, c) })
		},
		"rehome": func(t *rapid.T) {
			controller(t, func(ctx context.Context, controller *placement.Controller) {
				_, err := controller.Rehome(ctx)
				w.mayFail(ctx, err)
			})
		},
		"end": func(t *rapid.T) {
			c := user(t)
			if s := w.session(c); s != "" && !w.outage {
				_, err := w.fleet.End(w.ctx, s, "over")
				require.NoError(t, err)
				c.session++
			}
		},
		"heartbeat":       beat,
		"heartbeat again": beat,
		"usage": func(t *rapid.T) {
			if n := node(t); !n.cutControl && !w.outage {
				n.sendUsage()
			}
		},
		"use": func(t *rapid.T) { w.use(user(t), rapid.Int64Range(1, 1000).Draw(t, "bytes")) },
		"deliver": func(t *rapid.T) {
			if len(w.queue) > 0 {
				w.deliver(rapid.IntRange(0, len(w.queue)-1).Draw(t, "message"), true)
			}
		},
		"drop": func(t *rapid.T) {
			if len(w.queue) > 0 {
				w.deliver(rapid.IntRange(0, len(w.queue)-1).Draw(t, "message"), false)
			}
		},
		"restart": func(t *rapid.T) { node(t).restart() },
		"cut":     func(t *rapid.T) { n := node(t); n.cutControl = !n.cutControl },
		"cut API": func(t *rapid.T) { n := node(t); n.cutAPI = !n.cutAPI },
		"outage":  func(*rapid.T) { w.outage = !w.outage },
		"drain": func(t *rapid.T) {
			draining := rapid.Bool().Draw(t, "draining")
			require.NoError(t, w.fleet.SetDraining(w.ctx, registry.ID(w.server(node(t))), draining))
		},
		"wait": func(t *rapid.T) {
			w.now = w.now.Add(rapid.SampledFrom([]time.Duration{time.Second, 20 * time.Second, 61 * time.Second, 11 * time.Minute}).Draw(t, "time"))
		},
		"calm": func(t *rapid.T) { w.calm(rapid.SampledFrom(controllers).Draw(t, "controller")) },
		"":     func(*rapid.T) { w.checkAlways() },
	}
	for name, do := range actions {
		actions[name] = func(t *rapid.T) { w.t = t; do(t) }
	}
	return actions
}

// calm is a quarter of an hour in which nothing else goes wrong: what is cut off or silent stays so, and the others do what they do.
func (w *world) calm(controller *placement.Controller) {
	if w.quiet || w.outage {
		return
	}
	w.quiet = true
	defer func() { w.quiet = false }()
	beat := func() {
		for _, n := range w.nodes {
			if !n.cutControl {
				n.contact()
			}
		}
	}
	w.now = w.now.Add(registry.DefaultFreshness + time.Second)
	beat()
	_, err := controller.Rehome(w.ctx)
	require.NoError(w.t, err)
	beat()
	beat()
	w.now = w.now.Add(tombstoneLife + time.Minute)
	beat()
}

// server is the ID of a node, which is there from the beginning.
func (w *world) server(n *simNode) string {
	servers, err := w.fleet.List(w.ctx, registry.Filter{})
	require.NoError(w.t, err)
	for _, s := range servers {
		if s.Name == n.name {
			return string(s.ID)
		}
	}
	return ""
}

// session is that of a client's present idempotency key, if the registry has it.
func (w *world) session(c *client) registry.SessionID {
	for _, s := range w.sessions() {
		if s.User == c.user && s.IdempotencyKey == w.request(c).IdempotencyKey {
			return s.ID
		}
	}
	return ""
}

func (w *world) sessions() []registry.Session {
	var all []registry.Session
	for i := range w.ids {
		s, err := w.fleet.Session(w.ctx, registry.SessionID(w.id(i+1)))
		if !errors.Is(err, registry.ErrUnknownSession) {
			require.NoError(w.t, err)
			all = append(all, s)
		}
	}
	return all
}

func (w *world) connect(ctx context.Context, controller *placement.Controller, c *client) {
	connection, err := controller.Connect(ctx, w.request(c))
	if err != nil {
		w.mayFail(ctx, err)
		return
	}
	w.tell(connection)
}

// mayFail takes the errors that trouble explains.
func (w *world) mayFail(ctx context.Context, err error) {
	for _, trouble := range []error{
		registry.ErrUnavailable, registry.ErrNoServer, registry.ErrConflict, placement.ErrEnded, placement.ErrNoNode, ctx.Err(),
	} {
		if trouble != nil && errors.Is(err, trouble) {
			return
		}
	}
	require.NoError(w.t, err)
}

// use has a client send through the tunnel that its configuration describes.
func (w *world) use(c *client, bytes int64) {
	for _, n := range w.nodes {
		if c.server == "" || w.server(n) != string(c.server) {
			continue
		}
		if held, ok := n.peers[c.key]; ok {
			require.False(w.t, held.below(c.highest), "%s serves %s as %v, which has applied %v", n.name, c.user, held, c.highest)
			n.counted = append(n.counted, registry.PeerUsage{PublicKey: c.key, Download: bytes})
			w.served[c.key] += bytes
		}
	}
}

func (w *world) deliver(i int, really bool) {
	message := w.queue[i]
	w.queue = append(w.queue[:i:i], w.queue[i+1:]...)
	if really && !w.outage {
		message()
	}
}

// checkAlways is what holds at any time.
func (w *world) checkAlways() {
	holder := make(map[place]string)
	for i, n := range w.nodes {
		for _, p := range n.peers {
			require.Empty(w.t, holder[p], "%s holds %v, too", n.name, p)
			holder[p] = n.name
		}
		for k, before := range w.held[i] {
			now, ok := n.peers[k]
			gone := !ok || now != before
			replaced := ok && now.session == before.session && now.generation > before.generation
			require.True(w.t, !gone || replaced || n.forbidden[before.session] >= before.generation,
				"%s has dropped %v, of which there is no release", n.name, before)
		}
		w.held[i] = maps.Clone(n.peers)
	}
}

// mend ends all trouble, lets what is under way arrive, and lets the fleet come to rest.
func (w *world) mend() {
	w.quiet, w.outage = true, false
	for _, n := range w.nodes {
		n.cutControl, n.cutAPI = false, false
		require.NoError(w.t, w.fleet.SetDraining(w.ctx, registry.ID(w.server(n)), false))
	}
	for len(w.queue) > 0 {
		w.deliver(rapid.IntRange(0, len(w.queue)-1).Draw(w.t, "message"), rapid.Bool().Draw(w.t, "arrives"))
		w.checkAlways()
	}
	controller := w.controller()
	for range 4 {
		w.now = w.now.Add(registry.DefaultFreshness + time.Second)
		for _, n := range w.nodes {
			for range 3 { // it registers, learns, and acknowledges
				n.contact()
			}
		}
		_, err := controller.Rehome(w.ctx)
		require.NoError(w.t, err)
		w.checkAlways()
	}
	for _, n := range w.nodes {
		n.contact()
		for n.report != nil || len(n.counted) > 0 {
			n.sendUsage()
		}
	}
}

// checkRest is what holds once everybody has been in contact.
func (w *world) checkRest() {
	w.checkAlways()
	used := make(map[registry.Key]int64)
	owners := make(map[place]string)
	for _, s := range w.sessions() {
		used[s.PublicKey] += s.Download
		switch s.State {
		case registry.Active:
			owners[place{s.ID, s.Generation}] = string(s.Server)
		default:
			require.Equal(w.t, registry.Ended, s.State, "%+v", s)
		}
	}
	held := make(map[place]string)
	for _, n := range w.nodes {
		for _, p := range n.peers {
			held[p] = w.server(n)
		}
	}
	require.Equal(w.t, owners, held, "the owner of a live session has it, and nobody else has anything")
	for k, bytes := range w.served {
		require.Equal(w.t, bytes, used[k], "what was used of a key is counted once")
	}
	require.Empty(w.t, w.fleet.Unmatched())
}
