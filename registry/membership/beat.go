package membership

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/waylume/waylume/registry"
)

const (
	// spreadShare is the part of an interval over which nodes are spread that have the same reason to ask at once: a start, a
	// registry that has lost its servers, or asks to be left alone for a while.
	spreadShare = 2
	urgentBurst = 3
	// lookPeriod is the least time between looks at the node's status because it may have changed; the look is within a
	// lookShare of an interval, as what changes for one node may change for all.
	lookPeriod = time.Second
	lookShare  = 5
	// slowly and whenStale are about when to ask again after a refusal that only people mend, and after one that ends when
	// another node has been silent for long enough; refusalJitter of them to either side.
	slowly        = 5 * time.Minute
	whenStale     = registry.DefaultFreshness
	refusalJitter = 0.5
	// lateArrival is how long a registration that failed may yet take effect.
	lateArrival = 2 * time.Minute
)

// beat is what the goroutine of registrations and heartbeats knows.
type beat struct {
	*Member
	failures int       // in sequence
	next     time.Time // when to ask
	look     time.Time // when to see whether the status has changed; zero: not
	looked   time.Time
	sequence int64
	// told is what the last heartbeat said that was answered, and draining with it.
	told         registry.Status
	toldDraining bool
}

// beats registers the node and sends its heartbeats until the context ends or nothing is to be asked any more.
func (m *Member) beats(ctx context.Context) {
	b := &beat{Member: m, next: time.Now().Add(m.pace.within(m.cfg.Interval / spreadShare))}
	for {
		at := b.next
		if !b.look.IsZero() && b.look.Before(at) {
			at = b.look
		}
		if !m.sleep(ctx, time.Until(at), m.beatWake) {
			return
		}
		b.heed()
		now := time.Now()
		if !b.look.IsZero() && !now.Before(b.look) && now.Before(b.next) {
			b.look, b.looked = time.Time{}, now
			if b.changed(ctx) && m.urgent.Allow() {
				b.next = now
			}
		}
		if now = time.Now(); !now.Before(b.next) {
			b.look = time.Time{}
			wait := b.ask(ctx)
			b.next = time.Now().Add(wait)
		}
	}
}

// heed takes what it was woken for. While calls fail, the next one is not sooner for that: it will say how things are then.
func (b *beat) heed() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.failures == 0 {
		if b.wakeNow {
			b.next = time.Now()
		}
		if b.wakeChanged && b.look.IsZero() {
			b.look = time.Now().Add(b.pace.within(b.state.Interval / lookShare))
			if soonest := b.looked.Add(lookPeriod); b.look.Before(soonest) {
				b.look = soonest
			}
		}
	}
	b.wakeNow, b.wakeChanged = false, false
}

// changed says whether the fleet would want to know before the next heartbeat.
func (b *beat) changed(ctx context.Context) bool {
	s := b.State()
	if !s.Registered || s.Phase != Joined {
		return false
	}
	if s.Draining != b.toldDraining {
		return true
	}
	now := b.status(ctx)
	return health(now) != health(b.told) || !slices.Equal(now.Reasons, b.told.Reasons)
}

func health(s registry.Status) registry.Health {
	if s.Health == "" {
		return registry.Healthy
	}
	return s.Health
}

// ask registers or sends a heartbeat, and says how long to wait before the next.
func (b *beat) ask(ctx context.Context) time.Duration {
	started := time.Now()
	var wait time.Duration
	var err error
	if b.State().Registered {
		wait, err = b.heartbeat(ctx)
	} else {
		wait, err = b.register(ctx)
	}
	if ctx.Err() != nil {
		return 0
	}
	if err == nil || answered(err) {
		b.failures = 0
		return max(0, wait-time.Since(started)) // a call that takes long does not make the next one late
	}
	b.failures++
	b.failed(err, b.failures, started)
	return max(b.pace.afterError(err, b.failures, b.State().Interval), b.breaker.RemainingDelay())
}

// register returns how long to wait before the next call if there was an answer.
func (b *beat) register(ctx context.Context) (time.Duration, error) {
	var registration registry.Registration
	err := b.limited(ctx, func(ctx context.Context) (err error) {
		registration, err = b.cfg.Node.Registration(ctx)
		return err
	})
	if err != nil {
		return 0, nodeError{err}
	}
	if !b.takeTurn(ctx) {
		return 0, ctx.Err()
	}
	defer b.endTurn()
	var registered registry.Registered
	err = b.Member.ask(ctx, func(s *State) { s.Registrations++ }, func(ctx context.Context) (err error) {
		registered, err = b.cfg.Registry.Register(ctx, registration)
		return err
	})
	if err == nil && (registered.Server == "" || registered.Incarnation < 1 || registered.UsageSequence < 0) {
		err = fmt.Errorf("%w: it answered a registration with nonsense", registry.ErrUnavailable)
	}
	if err != nil {
		return b.refusedRegistration(err), err
	}
	b.sequence = 0
	b.joined(registered)
	return 0, nil // a node that was restarted may have many peers, and is thought to be empty until its first heartbeat
}

func (b *beat) refusedRegistration(err error) time.Duration {
	switch {
	case !answered(err):
		b.mu.Lock()
		b.ambiguous = time.Now()
		b.mu.Unlock()
		return 0
	case errors.Is(err, registry.ErrNameTaken):
		b.refused(NameTaken, err)
		return b.pace.around(whenStale, refusalJitter)
	default:
		return b.refusedAnything(err)
	}
}

// refusedAnything is for refusals that mean the same whatever was asked.
func (b *beat) refusedAnything(err error) time.Duration {
	phase := Refused
	if errors.Is(err, registry.ErrDenied) {
		phase = Denied
	}
	b.refused(phase, err)
	return b.pace.around(slowly, refusalJitter)
}

// heartbeat is as register.
func (b *beat) heartbeat(ctx context.Context) (time.Duration, error) {
	s := b.State()
	b.sequence++
	h := registry.Heartbeat{
		Server: s.Server, Incarnation: s.Incarnation, Sequence: b.sequence,
		Status: b.status(ctx), Draining: s.Draining, Released: b.store.kept().Released,
	}
	var answer registry.Answer
	started := time.Now()
	err := b.Member.ask(ctx, func(s *State) { s.Heartbeats++ }, func(ctx context.Context) (err error) {
		answer, err = b.cfg.Registry.Heartbeat(ctx, h)
		return err
	})
	switch {
	case err == nil:
		b.told, b.toldDraining = h.Status, h.Draining
		b.answered(h.Server, answer, started)
		return b.pace.regular(b.State().Interval), nil
	case !answered(err):
		return 0, err
	case errors.Is(err, registry.ErrUnknownServer):
		b.rejoin("fleet does not know the node any more: it registers again", err)
		return b.pace.within(s.Interval / spreadShare), err
	case errors.Is(err, registry.ErrSuperseded):
		if b.perhapsBySelf() {
			b.rejoin("fleet had a registration of this node's late: it registers again", err)
			return b.pace.within(s.Interval / spreadShare), err
		}
		b.superseded(err)
		return 0, err
	default:
		return b.refusedAnything(err), err
	}
}

// perhapsBySelf says that a registration of the node's own, which is believed to have failed, may be what superseded it. Where it
// was another process after all, and that has just started as well, each registers anew until one of them is past that time.
func (b *beat) perhapsBySelf() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return !b.ambiguous.IsZero()
}

// status is how the node is. One that cannot say so fails.
func (b *beat) status(ctx context.Context) registry.Status {
	var status registry.Status
	err := b.limited(ctx, func(ctx context.Context) (err error) {
		status, err = b.cfg.Node.Status(ctx)
		return err
	})
	if err != nil {
		status = registry.Status{Health: registry.Failing, Reasons: []string{"status is not known: " + err.Error()}}
	}
	// A node that has more to say than fits must not be refused, and be taken for dead, because of that.
	status.Reasons = slices.Clone(status.Reasons[:min(len(status.Reasons), registry.MaxReasons)])
	for i, reason := range status.Reasons {
		status.Reasons[i] = strings.ToValidUTF8(reason[:min(len(reason), registry.MaxReasonLen)], "")
	}
	return status
}

// limited calls the node with a time-out.
func (m *Member) limited(ctx context.Context, call func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, m.cfg.Timeout)
	defer cancel()
	return call(ctx)
}

// nodeError is why the node could not say what it is. It does not unwrap: nothing in it is the registry's word.
type nodeError struct{ err error }

func (e nodeError) Error() string {
	return "membership: ask the node for its registration: " + e.err.Error()
}
