package daemon

import (
	"context"
	"errors"

	"github.com/waylume/waylume/cmd/waylumed/internal/config"
)

// drainer is on whose behalf the node takes no more peers, or takes them again.
type drainer int

const (
	operator drainer = iota // whoever runs the node
	byFleet                 // whoever runs the fleet
	byEnd                   // the daemon, which ends
)

type drainerKey struct{}

// drainFor has a change of draining be on somebody's behalf.
func drainFor(ctx context.Context, who drainer) context.Context {
	return context.WithValue(ctx, drainerKey{}, who)
}

// errOperators: what whoever runs the node wants is not the fleet's to take back.
var errOperators = errors.New("whoever runs the node wants it drained")

// wanted has the node take no more peers if whoever runs the fleet wants that, and take them again if nobody else minds.
func (t *fleetTask) wanted(ctx context.Context, draining bool) error {
	t.mu.Lock()
	moot := draining == t.draining || !draining && !t.byFleet
	t.mu.Unlock()
	if moot {
		return nil
	}
	if err := t.d.api.routes.SetDraining(drainFor(ctx, byFleet), draining); !errors.Is(err, errOperators) {
		return err
	}
	return nil
}

// drained is told when the node is to take no more peers, or to take them again, even if that is how it is: whoever runs the node
// may want what until then only the fleet did.
func (t *fleetTask) drained(ctx context.Context, draining bool) error {
	if t == nil {
		return nil
	}
	who, _ := ctx.Value(drainerKey{}).(drainer)
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case who != byFleet:
		t.byFleet = false
	case !draining && !t.byFleet:
		return errOperators
	case draining && !t.draining:
		t.byFleet = true
	case !draining:
		t.byFleet = false
	}
	t.draining = draining
	// A dataplane that is kept serves its peers on: no session is to move for that.
	if who == byFleet || who == byEnd && t.d.config().Run.Stop == config.KeepDataplane {
		return nil
	}
	if t.member != nil {
		t.member.SetDraining(draining)
	}
	return nil
}

// farewell tells the fleet that the node ends, if its peers go with it, so that their sessions are moved at once.
func (t *fleetTask) farewell(ctx context.Context) {
	if t == nil || t.d.config().Run.Stop == config.KeepDataplane {
		return
	}
	t.mu.Lock()
	member, asked := t.member, t.asked
	t.mu.Unlock()
	if member == nil || !member.State().Registered {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, farewellTime)
	defer cancel()
	if err := asked.Drain(ctx, member.State().Server, true); err != nil {
		t.d.log.Warn("the fleet was not told that the node ends; it will notice", "error", err)
	}
}
