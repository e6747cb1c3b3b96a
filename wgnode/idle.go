package wgnode

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// surveyPeriod is how often the handshakes of all peers are read that have an idle timeout, with a checkpoint. What a killed
// node does not know of is no longer ago.
const surveyPeriod = time.Minute

// SetIdleTimeout sets after how long without a handshake the node removes a peer, or each of the peers that an account has
// now; 0: never. The time counts from the last handshake, and from now on if there was no timeout. Errors as for SetExpiry.
func (n *Node) SetIdleTimeout(ctx context.Context, s Subject, timeout time.Duration) error {
	var p problems
	p.idleTimeout("IdleTimeout", timeout)
	return n.edit(ctx, revision{
		op: "set idle timeout of", subject: s, detail: "idle timeout", invalid: p.err("idle timeout"), reach: peersOf,
		unchanged: func(e entity) bool { return e.common().idleTimeout == timeout },
		edit: func(next entity, _ time.Time) error {
			next.common().idleTimeout = timeout
			return nil
		},
	})
}

// witness takes a last handshake as the dataplane tells it, and reports whether it is later than what was known. The time of
// one that came after another was read cannot be before the last survey, whatever the clock says.
func (t *tenure) witness(handshake, now time.Time, running, surveyed time.Duration) bool {
	if handshake.IsZero() || instantOf(handshake) == t.handshake {
		return false
	}
	age := max(now.Sub(handshake), 0)
	if t.handshake != 0 {
		age = min(age, running-surveyed)
	}
	t.handshake = instantOf(handshake)
	if running-age <= t.seen {
		return false
	}
	t.seen = running - age
	return true
}

// expectIdle says by the wall clock when the peer will have been idle for too long.
func (t *tenure) expectIdle(now time.Time, running time.Duration) {
	t.idleAt = 0
	if t.watched() {
		t.idleAt = instantOf(now.Add(t.idleTimeout - (running - t.seen)))
	}
}

// resumeWatch has the silence of a revised peer count from now if that of the peer before did not count.
func (t *tenure) resumeWatch(before tenure, now time.Time, running time.Duration) {
	if t.watched() && !before.watched() {
		t.seen = running
	}
	t.expectIdle(now, running)
}

// look reads the last handshakes of watched peers. The caller holds the slot.
func (n *Node) look(ctx context.Context, peers []*peer) error {
	q := queryOf(peers...)
	q.Device = true
	stats, err := n.cfg.Dataplane.Stats(ctx, q)
	if err != nil {
		return fmt.Errorf("read handshakes: %w", err)
	}
	now := time.Now()
	running := n.inv.running(now)
	n.settle(func(inv *inventory) {
		for _, s := range stats.Peers {
			if p, ok := inv.peers.Get(s.PublicKey); ok && p.witness(s.LastHandshake, now, running, inv.surveyed) {
				p.unsaved = true
			}
		}
		for _, p := range peers {
			p.expectIdle(now, running)
			inv.deadlines.set(p, p.wake())
		}
	})
	return nil
}

// survey looks at all watched peers if the last time is long ago or the node closes, and returns what is to be stored of it.
// It also mends deadlines that a clock that was set has moved. The caller holds the slot.
func (n *Node) survey(ctx context.Context) ([]Mutation, error) {
	running := n.inv.running(time.Now())
	if running-n.inv.surveyed < surveyPeriod && n.life.check() == nil {
		return nil, nil
	}
	var watched []*peer
	for _, p := range n.inv.peerOrder.entries {
		if p.watched() {
			watched = append(watched, p)
		}
	}
	if len(watched) == 0 {
		return nil, nil
	}
	if err := n.look(ctx, watched); err != nil {
		return nil, err
	}
	n.settle(func(inv *inventory) { inv.surveyed = running })
	record, err := encodeRunning(running)
	return []Mutation{put(record)}, err
}

// retire removes the peers that are idle for too long, after another look at them. The caller holds the slot.
func (n *Node) retire(ctx context.Context, due []entity, now time.Time) error {
	idle := func(p *peer) bool { return p.idleAt != 0 && p.idleAt.age(now) >= 0 }
	suspects := peersWhere(&n.inv, due, idle)
	if len(suspects) == 0 {
		return nil
	}
	if err := n.look(ctx, suspects); err != nil {
		return err
	}
	gone := peersWhere(&n.inv, due, idle)
	if len(gone) == 0 {
		return nil
	}
	return n.uninstall(ctx, RemovalIdle, gone)
}

// runningJSON is how long the node had run, in all its life, at a time that is at most a survey ago.
type runningJSON struct {
	version
	Running time.Duration `json:"running"`
}

func encodeRunning(running time.Duration) (Record, error) {
	return encode(RecordNode, runningRecord, runningJSON{since(2, true), running})
}

func decodeRunning(r Record) (time.Duration, error) {
	var v runningJSON
	err := decode(r, &v)
	if err == nil && v.Running < 0 {
		err = errors.New("running: is negative")
	}
	return v.Running, err
}
