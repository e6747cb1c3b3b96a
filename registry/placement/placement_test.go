package placement_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/waylume/waylume/registry"
	"github.com/waylume/waylume/registry/memory"
	"github.com/waylume/waylume/registry/placement"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fleet is one in memory with nodes that answer as they are told.
type fleet struct {
	*testing.T
	*memory.Fleet
	ids map[string]registry.ID

	mu     sync.Mutex
	asked  []string // node, generation and wanted addresses of each request
	moved  []placement.Connection
	answer map[string]func(context.Context, registry.Session) (placement.Peer, error)
	beats  int64
}

func newFleet(t *testing.T, names ...string) *fleet {
	m, err := memory.New(memory.Config{})
	require.NoError(t, err)
	f := &fleet{
		T: t, Fleet: m, ids: make(map[string]registry.ID), answer: make(map[string]func(context.Context, registry.Session) (placement.Peer, error)),
	}
	for _, name := range names {
		registered, err := m.Register(t.Context(), registration(name))
		require.NoError(t, err)
		f.ids[name] = registered.Server
	}
	return f
}

func (f *fleet) Create(ctx context.Context, server registry.Server, s registry.Session) (placement.Peer, error) {
	f.mu.Lock()
	f.asked = append(f.asked, fmt.Sprintf("%s %d %v", server.Name, s.Generation, s.Addresses))
	answer := f.answer[server.Name]
	f.mu.Unlock()
	if answer != nil {
		return answer(ctx, s)
	}
	addresses := s.Addresses
	if len(addresses) == 0 {
		addresses = []netip.Addr{netip.MustParseAddr("10.0.0.7")}
	}
	return placement.Peer{Addresses: addresses, Answer: json.RawMessage(`{}`)}, nil
}

func (f *fleet) controller(edit ...func(*placement.Config)) *placement.Controller {
	f.Helper()
	cfg := placement.Config{Sessions: f, Directory: f, Nodes: f, Moved: func(_ context.Context, c placement.Connection) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.moved = append(f.moved, c)
	}}
	for _, e := range edit {
		e(&cfg)
	}
	c, err := placement.New(cfg)
	require.NoError(f, err)
	return c
}

// beat keeps servers fresh. Only the first of a process's heartbeats that is later counts, so each has the next sequence.
func (f *fleet) beat(names ...string) {
	f.Helper()
	f.beats++
	for _, name := range names {
		_, err := f.Heartbeat(f.Context(), registry.Heartbeat{Server: f.ids[name], Incarnation: 1, Sequence: f.beats})
		require.NoError(f, err)
	}
}

func newSession(user string) registry.NewSession {
	return registry.NewSession{User: user, IdempotencyKey: "1", PublicKey: key(user)}
}

var errDown = errors.New("connection refused")

func down(context.Context, registry.Session) (placement.Peer, error) {
	return placement.Peer{}, errDown
}

func TestNewNamesEveryProblem(t *testing.T) {
	t.Parallel()
	_, err := placement.New(placement.Config{Tries: -1, Concurrency: 1 << 20, Timeout: -1})
	require.ErrorIs(t, err, registry.ErrInvalid)
	for _, field := range []string{"Sessions", "Directory", "Nodes", "Tries", "Concurrency", "Timeout"} {
		require.ErrorContains(t, err, field+": ")
	}
}

func TestConnect(t *testing.T) {
	t.Parallel()
	f := newFleet(t, "a", "b")
	c := f.controller()
	connection, err := c.Connect(t.Context(), newSession("ann"))
	require.NoError(t, err)
	require.Equal(t, registry.Active, connection.Session.State)
	require.Equal(t, connection.Session.Server, connection.Server.ID)
	require.Equal(t, connection.Session.Addresses, connection.Peer.Addresses)
	require.JSONEq(t, `{}`, string(connection.Peer.Answer))

	again, err := c.Connect(t.Context(), newSession("ann"))
	require.NoError(t, err)
	require.Equal(t, connection.Session, again.Session)
	require.Equal(t, connection.Peer.Addresses, again.Peer.Addresses)
	require.Len(t, f.asked, 1)

	_, err = f.End(t.Context(), connection.Session.ID, "over")
	require.NoError(t, err)
	_, err = c.Connect(t.Context(), newSession("ann"))
	require.ErrorIs(t, err, placement.ErrEnded)
}

func TestConnectCarriesOn(t *testing.T) {
	t.Parallel()
	f := newFleet(t, "a", "b")
	s, err := f.Begin(t.Context(), newSession("ann")) // by a controller that has died since
	require.NoError(t, err)
	connection, err := f.controller().Connect(t.Context(), newSession("ann"))
	require.NoError(t, err)
	require.Equal(t, s.ID, connection.Session.ID)
	require.EqualValues(t, 1, connection.Session.Generation)
	require.Equal(t, registry.Active, connection.Session.State)
}

func TestConnectTriesTheNextServer(t *testing.T) {
	t.Parallel()
	f := newFleet(t, "a", "b", "c")
	f.answer["a"], f.answer["b"] = down, down
	for i := range 8 {
		connection, err := f.controller().Connect(t.Context(), newSession(fmt.Sprint(i)))
		require.NoError(t, err)
		require.Equal(t, "c", connection.Server.Name)
	}
	servers, err := f.List(t.Context(), registry.Filter{})
	require.NoError(t, err)
	require.Equal(t, []int{0, 0, 8}, []int{servers[0].Assigned, servers[1].Assigned, servers[2].Assigned})
	answer, err := f.Heartbeat(t.Context(), registry.Heartbeat{Server: f.ids["a"], Incarnation: 1, Sequence: 1})
	require.NoError(t, err)
	require.NotEmpty(t, answer.Releases, "which may have the peers all the same")
}

func TestConnectGivesUp(t *testing.T) {
	t.Parallel()
	f := newFleet(t, "a", "b", "c")
	f.answer["a"], f.answer["b"], f.answer["c"] = down, down, down
	_, err := f.controller(func(cfg *placement.Config) { cfg.Tries = 2 }).Connect(t.Context(), newSession("ann"))
	require.ErrorIs(t, err, placement.ErrNoNode)
	require.ErrorIs(t, err, errDown)
	require.Len(t, f.asked, 2)
	_, err = f.controller(func(cfg *placement.Config) { cfg.Tries = 9 }).Connect(t.Context(), newSession("bob"))
	require.ErrorIs(t, err, registry.ErrNoServer)
	require.Len(t, f.asked, 5)
	clear(f.answer)
	_, err = f.controller().Connect(t.Context(), newSession("ann"))
	require.NoError(t, err, "asking again carries on")
}

func TestConnectEndsWhatNoNodeTakes(t *testing.T) {
	t.Parallel()
	f := newFleet(t, "a", "b")
	f.answer["a"] = func(context.Context, registry.Session) (placement.Peer, error) {
		return placement.Peer{}, fmt.Errorf("%w: speed_limit is below 0", placement.ErrPeer)
	}
	f.answer["b"] = f.answer["a"]
	_, err := f.controller().Connect(t.Context(), newSession("ann"))
	require.ErrorIs(t, err, placement.ErrPeer)
	require.Len(t, f.asked, 1)
	_, err = f.controller().Connect(t.Context(), newSession("ann"))
	require.ErrorIs(t, err, placement.ErrEnded)
}

func TestConnectHasADeadline(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, "a", "b", "c")
		hang := func(ctx context.Context, _ registry.Session) (placement.Peer, error) {
			<-ctx.Done()
			return placement.Peer{}, ctx.Err()
		}
		f.answer["a"], f.answer["b"], f.answer["c"] = hang, hang, hang
		c := f.controller(func(cfg *placement.Config) { cfg.Timeout, cfg.CreateTimeout = 8*time.Second, 5*time.Second })
		begin := time.Now()
		_, err := c.Connect(t.Context(), newSession("ann"))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, 8*time.Second, time.Since(begin))
		require.Len(t, f.asked, 2, "one after the other")
	})
}

func TestConnectLeavesAServerThatIsGone(t *testing.T) {
	t.Parallel()
	for _, gone := range []string{"silent", "draining", "left"} {
		t.Run(gone, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := newFleet(t, "a", "b")
				c := f.controller()
				before, err := c.Connect(t.Context(), newSession("ann"))
				require.NoError(t, err)
				other := map[string]string{"a": "b", "b": "a"}[before.Server.Name]
				switch gone {
				case "silent":
					time.Sleep(registry.DefaultFreshness + time.Second)
					f.beat(other)
				case "draining":
					require.NoError(t, f.Drain(t.Context(), before.Server.ID, true))
				case "left":
					require.NoError(t, f.Deregister(t.Context(), before.Server.ID))
				}
				time.Sleep(10 * time.Second) // what was remembered of it is old
				after, err := c.Connect(t.Context(), newSession("ann"))
				require.NoError(t, err)
				require.Equal(t, other, after.Server.Name)
				require.Equal(t, before.Session.Addresses, after.Session.Addresses)
				require.EqualValues(t, 2, after.Session.Generation)
				// Where there is no third, it stays.
				require.NoError(t, f.Drain(t.Context(), f.ids[other], true))
				time.Sleep(10 * time.Second)
				stays, err := c.Connect(t.Context(), newSession("ann"))
				require.NoError(t, err)
				require.Equal(t, after.Session, stays.Session)
			})
		})
	}
}
