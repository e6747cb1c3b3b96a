package wgnode

import (
	"context"
	"sync"
	"time"

	"github.com/waylume/waylume/quota"
)

// Totals are what a node's peers and its life come to, for metrics. What is counted is counted since [New] and never gets less,
// whoever is removed meanwhile.
type Totals struct {
	// State is as in [Status].
	State string
	// Active, Suspended and Expired count the peers; one that is suspended, itself or with its account, counts as that alone.
	Active, Suspended, Expired int
	// Connections counts peers by how they are connected, every state there is.
	Connections map[ConnectionState]int
	// FormerKeyPeers is how many peers' last handshake was with the node's former key.
	FormerKeyPeers int
	// Handshakes adds up those of [PeerQuality]: the last of each peer's.
	Handshakes struct{ Attempts, Failed uint64 }
	Accounts   int
	// Passed are inner IP bytes that were delivered to and from all peers, as far as the node has read their counters: at each
	// checkpoint, and before a peer is removed. Those that a dataplane counted while no node ran are among them.
	Passed quota.Counters
	// Events counts what happened, every kind there is.
	Events map[EventKind]EventTotals
	// Removals counts the peers that were removed, every reason there is.
	Removals map[RemovalReason]uint64
	// Missed is how many events readers missed, each of them.
	Missed uint64
	// Syncs and Checkpoints count what the node does on a period, and when it has to.
	Syncs, Checkpoints TaskTotals
	// CheckpointedAt is when a checkpoint last succeeded; zero: none did.
	CheckpointedAt time.Time
}

// EventTotals are the events of one kind.
type EventTotals struct {
	// Peers, Accounts and Node count those that name a peer, those that name an account and no peer, and those that name neither.
	Peers, Accounts, Node uint64
}

// TaskTotals are the runs of one task.
type TaskTotals struct {
	Runs, Failures uint64
	// Time is what all runs took together.
	Time time.Duration
}

// ProblemKinds returns every kind of problem there is.
func ProblemKinds() []ProblemKind {
	kinds := make([]ProblemKind, 0, len(problemKinds)-1)
	for k := range problemKinds[1:] {
		kinds = append(kinds, ProblemKind(k+1))
	}
	return kinds
}

// Totals adds up what the node knows. It asks nobody, may be called in any state of the node, and takes a fraction of a
// millisecond for some thousand peers.
func (n *Node) Totals() Totals {
	t := Totals{State: n.life.current().String(), Connections: make(map[ConnectionState]int, ConnectionUnreachable+1)}
	for s := range ConnectionUnreachable + 1 {
		t.Connections[s] = 0
	}
	n.tasks.mu.Lock()
	t.Syncs, t.Checkpoints, t.CheckpointedAt = n.tasks.sync, n.tasks.checkpoint, n.tasks.checkpointedAt
	n.tasks.mu.Unlock()
	n.events.totals(&t)

	running := t.State == running.String()
	now, stale := time.Now(), n.stalePeriod()
	n.mu.RLock()
	defer n.mu.RUnlock()
	t.Passed = n.inv.passed
	if !running {
		return t
	}
	t.Accounts = len(n.inv.accounts)
	quiet := n.inv.quiet.state(now, stale)
	for _, p := range n.inv.peerOrder.entries {
		switch {
		case p.suspended || p.accountSuspended:
			t.Suspended++
		case p.lapsed:
			t.Expired++
		default:
			t.Active++
		}
		state := ConnectionInactive
		if p.quiet() && p.active() {
			state = quiet
		} else if c := p.connection; c != nil && c.key == p.key {
			t.Handshakes.Attempts += uint64(c.loss.Attempts)
			t.Handshakes.Failed += uint64(c.loss.Failed)
			if c.formerKey && n.up.overlap.on() {
				t.FormerKeyPeers++
			}
			if p.active() {
				state = n.inv.quiet.stateOf(c, now, stale)
			}
		} else if p.active() {
			state = ConnectionUnknown
		}
		t.Connections[state]++
	}
	return t
}

// pass adds what a peer's counters moved on.
func (inv *inventory) pass(before, after quota.Counters) {
	inv.passed.Download += above(after.Download, before.Download)
	inv.passed.Upload += above(after.Upload, before.Upload)
}

// tasks counts what the node does of its own accord.
type tasks struct {
	mu               sync.Mutex
	sync, checkpoint TaskTotals
	checkpointedAt   time.Time
}

// beginSync and beginCheckpoint tell of a run, and count it when it has ended. A caller who gave up made no failure.
func (n *Node) beginSync(ctx context.Context) (context.Context, func(error)) {
	return n.beginTask(ctx, "sync", func(t *tasks, took time.Duration, err error) { t.sync.add(took, err) })
}

func (n *Node) beginCheckpoint(ctx context.Context) (context.Context, func(error)) {
	return n.beginTask(ctx, "checkpoint", func(t *tasks, took time.Duration, err error) {
		t.checkpoint.add(took, err)
		if err == nil {
			t.checkpointedAt = wallClock(time.Now())
		}
	})
}

func (n *Node) beginTask(ctx context.Context, name string, count func(*tasks, time.Duration, error)) (context.Context, func(error)) {
	began := time.Now()
	ctx, end := n.trace(ctx, name, Subject{}, 0)
	return ctx, func(err error) {
		end(err)
		if err != nil && gaveUp(ctx) {
			return
		}
		n.tasks.mu.Lock()
		defer n.tasks.mu.Unlock()
		count(&n.tasks, time.Since(began), err)
	}
}

func (t *TaskTotals) add(took time.Duration, err error) {
	t.Runs++
	t.Time += took
	if err != nil {
		t.Failures++
	}
}

// eventTally counts events.
type eventTally struct {
	kinds    [len(eventNames)]EventTotals
	removals [RemovalIdle + 1]uint64
	missed   uint64
}

func (t *eventTally) add(e Event) {
	kind := &t.kinds[e.Kind]
	switch {
	case e.Peer != [len(e.Peer)]byte{}:
		kind.Peers++
	case e.Account != "":
		kind.Accounts++
	default:
		kind.Node++
	}
	if e.Kind == PeerRemoved {
		t.removals[e.Reason]++
	}
}

// totals adds what was counted.
func (h *hub) totals(t *Totals) {
	h.mu.Lock()
	tally := h.tally
	h.mu.Unlock()
	t.Missed = tally.missed
	t.Events = make(map[EventKind]EventTotals, len(tally.kinds))
	for kind, totals := range tally.kinds {
		if kind := EventKind(kind); kind > Missed {
			t.Events[kind] = totals
		}
	}
	t.Removals = make(map[RemovalReason]uint64, len(tally.removals))
	for reason, count := range tally.removals {
		if reason > 0 {
			t.Removals[RemovalReason(reason)] = count
		}
	}
}
