package placement_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/waylume/waylume/registry"
	"github.com/waylume/waylume/registry/memory"
	"github.com/waylume/waylume/registry/placement"
)

// How long a signed request lives, and a node remembers a release at least.
const (
	requestLife   = time.Minute
	tombstoneLife = 10 * time.Minute
)

// place is a session in a generation. Sessions are counted, so that a later one has the higher ID.
type place struct {
	session    registry.SessionID
	generation int64
}

func (p place) below(q place) bool {
	return p.session < q.session || p.session == q.session && p.generation < q.generation
}

type tombstone struct {
	generation int64
	at         time.Time
}

// simNode is a node as the contract has it: what it holds, what it must not hold again, and what it has counted are durable.
type simNode struct {
	w    *world
	name string
	skew time.Duration // of its clock

	peers     map[registry.Key]place
	fence     map[registry.SessionID]tombstone
	released  int64
	counted   []registry.PeerUsage
	report    *registry.UsageReport // cut, and not known to be taken
	reports   int64
	forbidden map[registry.SessionID]int64 // every release ever carried out: what the test knows and the node forgets

	process    int // how often it was started
	registered registry.Registered
	sequence   int64

	cutControl bool // it and the registry cannot reach each other
	cutAPI     bool // controllers cannot reach it
}

// create is the node's answer to a request for a peer that was signed at a time.
func (n *simNode) create(signed time.Time, k registry.Key, p place) error {
	if n.w.now.Sub(signed) > requestLife {
		return errors.New("expired")
	}
	for s, t := range n.fence {
		if n.w.now.Sub(t.at) > tombstoneLife {
			delete(n.fence, s)
		}
	}
	if t, ok := n.fence[p.session]; ok && p.generation <= t.generation {
		return errors.New("released")
	}
	if held, ok := n.peers[k]; ok {
		if held.session != p.session {
			return errors.New("the key is another session's")
		}
		if p.generation < held.generation {
			return errors.New("there is a later one")
		}
	}
	require.Greater(n.w.t, p.generation, n.forbidden[p.session], "%s takes %v, which was released to it", n.name, p)
	n.peers[k] = p
	return nil
}

// carryOut does what an answer to a heartbeat says. It may be an old one.
func (n *simNode) carryOut(releases []registry.Release) {
	for _, r := range releases {
		if r.Sequence <= n.released {
			continue
		}
		require.Equal(n.w.t, n.released+1, r.Sequence, "a release is missing")
		n.fence[r.Session] = tombstone{max(n.fence[r.Session].generation, r.Generation), n.w.now}
		n.forbidden[r.Session] = max(n.forbidden[r.Session], r.Generation)
		if held, ok := n.peers[r.PublicKey]; ok && held.session == r.Session && held.generation <= r.Generation {
			delete(n.peers, r.PublicKey)
		}
		n.released = r.Sequence
	}
}

func (n *simNode) restart() {
	n.process, n.registered, n.sequence = n.process+1, registry.Registered{}, 0
}

// contact registers the node if it has to, and sends a heartbeat. Each message may come to grief.
func (n *simNode) contact() {
	w := n.w
	if n.registered.Server == "" {
		registered, err := w.fleet.Register(w.ctx, registration(n.name))
		require.NoError(w.t, err)
		if w.lossy() && w.fate("registration") != fine {
			return // the answer is lost, and the node does not know its incarnation
		}
		n.registered, n.sequence = registered, 0
	}
	n.sequence++
	h := registry.Heartbeat{
		Server: n.registered.Server, Incarnation: n.registered.Incarnation, Sequence: n.sequence, Released: n.released,
		Status: registry.Status{Peers: len(n.peers)},
	}
	process := n.process
	send := func(late bool) {
		answer, err := w.fleet.Heartbeat(w.ctx, h)
		if process != n.process {
			return // nobody waits for it
		}
		switch {
		case errors.Is(err, registry.ErrUnknownServer), errors.Is(err, registry.ErrSuperseded):
			n.registered = registry.Registered{}
			return
		}
		require.NoError(w.t, err)
		switch f := w.fate("answer"); {
		case f == lost || f == answerLost:
		case f == delayed:
			w.later(func() {
				if process == n.process {
					n.carryOut(answer.Releases)
				}
			})
		default:
			n.carryOut(answer.Releases)
			if !late {
				n.checkOwnership()
			}
		}
	}
	w.transmit("heartbeat", func() { send(false) }, func() { send(true) })
}

// At first contact a node has dropped all that is not its own any more.
func (n *simNode) checkOwnership() {
	for _, p := range n.peers {
		s, err := n.w.fleet.Session(n.w.ctx, p.session)
		require.NoError(n.w.t, err)
		require.True(n.w.t, s.State != registry.Ended && s.Generation == p.generation && s.Server == n.registered.Server,
			"%s holds %v after contact: %+v", n.name, p, s)
	}
}

// sendUsage sends the report that is under way, or cuts the next one.
func (n *simNode) sendUsage() {
	w := n.w
	if n.registered.Server == "" {
		return
	}
	if n.report == nil {
		if len(n.counted) == 0 {
			return
		}
		n.reports++
		clock := w.now.Add(n.skew)
		n.report = &registry.UsageReport{
			Server: n.registered.Server, Sequence: n.reports, From: clock.Add(-time.Minute), To: clock, Usages: n.counted,
		}
		n.counted = nil
	}
	report := *n.report
	send := func() {
		receipt, err := w.fleet.ReportUsage(w.ctx, report)
		require.NoError(w.t, err)
		if w.fate("receipt") == fine && n.report != nil && n.report.Sequence <= receipt.Sequence {
			n.report = nil
		}
	}
	w.transmit("usage report", send, send)
}

// client is a user's device: it uses the configuration of the highest generation that it has been given.
type client struct {
	user    string
	key     registry.Key
	session int // counts idempotency keys
	applied place
	server  registry.ID
	highest place // that it has ever applied
}

func (c *client) give(to placement.Connection) {
	p := place{to.Session.ID, to.Session.Generation}
	if c.applied.below(p) {
		c.applied, c.server = p, to.Session.Server
	}
	if c.highest.below(p) {
		c.highest = p
	}
}

// fate is what happens to a message, or around it.
type fate string

const (
	fine       fate = "fine"
	lost       fate = "lost"
	answerLost fate = "answer lost"
	delayed    fate = "delayed"
	doubled    fate = "doubled"
	meanwhile  fate = "meanwhile" // something else happens first
	crash      fate = "crash"     // of the controller, before
	crashAfter fate = "crash after"
)

// world is the fleet with all that can go wrong in it.
type world struct {
	t       *rapid.T
	ctx     context.Context
	now     time.Time
	fleet   *memory.Fleet
	nodes   []*simNode
	clients []*client
	queue   []func()
	actions map[string]func(*rapid.T)
	ids     int
	depth   int
	quiet   bool // nothing goes wrong any more
	outage  bool // nobody can reach the registry
	served  map[registry.Key]int64
	held    []map[registry.Key]place // by each node at the last check
	crashed context.CancelFunc       // of the controller that is at work
}

func (w *world) lossy() bool { return !w.quiet }

func (w *world) fate(what string) fate {
	if w.quiet {
		return fine
	}
	return rapid.SampledFrom([]fate{
		fine, fine, fine, fine, fine, fine, lost, answerLost, delayed, doubled, meanwhile, meanwhile, crash, crashAfter,
	}).Draw(w.t, what)
}

func (w *world) later(do func()) { w.queue = append(w.queue, do) }

// transmit brings a message of a node to its end, now, later, twice or never.
func (w *world) transmit(what string, now, late func()) {
	switch w.fate(what) {
	case lost, crash:
	case delayed:
		w.later(late)
	case doubled:
		now()
		w.later(late)
	case meanwhile:
		w.something()
		late()
	default:
		now()
	}
}

// something has another action happen in the middle of one.
func (w *world) something() {
	if w.depth >= 2 {
		return
	}
	w.depth++
	defer func() { w.depth-- }()
	names := slices.DeleteFunc(slices.Sorted(maps.Keys(w.actions)), func(name string) bool { return name == "" })
	crashed := w.crashed
	for range rapid.IntRange(1, 3).Draw(w.t, "things") {
		w.actions[rapid.SampledFrom(names).Draw(w.t, "meanwhile")](w.t)
	}
	w.crashed = crashed
}

// Create implements [placement.Nodes].
func (w *world) Create(ctx context.Context, server registry.Server, s registry.Session) (placement.Peer, error) {
	n := w.nodes[slices.IndexFunc(w.nodes, func(n *simNode) bool { return n.name == server.Name })]
	if ctx.Err() != nil {
		return placement.Peer{}, ctx.Err()
	}
	signed, p := w.now, place{s.ID, s.Generation}
	deliver := func() error {
		if n.cutAPI {
			return errors.New("unreachable")
		}
		return n.create(signed, s.PublicKey, p)
	}
	late := func() {
		if !n.cutAPI {
			_ = n.create(signed, s.PublicKey, p) // nobody waits for the answer
		}
	}
	var err error
	switch w.fate("create") {
	case lost:
		err = errors.New("lost")
	case answerLost:
		_ = deliver() // as is this one
		err = errors.New("time-out")
	case delayed:
		w.later(late)
		err = errors.New("time-out")
	case doubled:
		w.later(late)
		err = deliver()
	case meanwhile:
		w.something()
		err = deliver()
	case crash:
		w.crashed()
		err = ctx.Err()
	case crashAfter:
		_ = deliver()
		w.crashed()
		err = ctx.Err()
	default:
		err = deliver()
	}
	return placement.Peer{Addresses: []netip.Addr{netip.MustParseAddr("10.0.0.2")}}, err
}

// around is a controller's call of the registry, with all that may happen to it.
func around[T any](ctx context.Context, w *world, what string, call func() (T, error)) (T, error) {
	var none T
	if ctx.Err() != nil {
		return none, ctx.Err()
	}
	if w.outage {
		return none, registry.ErrUnavailable
	}
	switch w.fate(what) {
	case lost:
		return none, registry.ErrUnavailable
	case answerLost:
		_, _ = call()
		return none, registry.ErrUnavailable
	case meanwhile:
		w.something()
		result, err := call()
		w.something()
		return result, err
	case crash:
		w.crashed()
		return none, ctx.Err()
	case crashAfter:
		_, _ = call()
		w.crashed()
		return none, ctx.Err()
	}
	return call()
}

// registration is one of a node that sessions can be placed on.
func registration(name string) registry.Registration {
	r := registry.Registration{Name: name, EndpointV4: netip.MustParseAddrPort("192.0.2.1:51820"), APIURL: "https://192.0.2.1:8443"}
	r.PublicKey = key(name)
	return r
}

func key(name string) registry.Key {
	var k registry.Key
	copy(k[:], name)
	k[31] = 1
	return k
}

func nodeName(i int) string { return fmt.Sprintf("n-%d", i) }
