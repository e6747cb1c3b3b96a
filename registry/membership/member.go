package membership

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	"golang.org/x/time/rate"

	"github.com/waylume/waylume/registry"
)

// Member is a node's place in a fleet. Its methods may be called from any goroutine.
type Member struct {
	cfg     Config
	store   *store
	pace    *pacer
	breaker circuitbreaker.CircuitBreaker[any]
	urgent  *rate.Limiter // of heartbeats that do not wait for their time

	// turn is had by who registers or reports usage: the answer to a registration says which reports were taken, and must
	// not be older than what a report was told meanwhile.
	turn chan struct{}
	// beatWake and workWake hold at most one call each to look again at what mu guards.
	beatWake, workWake chan struct{}
	// finished is closed when Run's goroutines have ended; nil before Run.
	finished chan struct{}
	stop     chan struct{} // closed when nothing is to be asked any more
	stopOnce sync.Once

	mu    sync.Mutex
	state State // Draining is what SetDraining said
	// outageSince is when the first call failed of those that fail now.
	outageSince time.Time
	// wakeNow and wakeChanged are why beatWake was called.
	wakeNow, wakeChanged bool
	// ambiguous is when a registration of this process or the one before last failed that may yet be carried out.
	ambiguous time.Time
	// shift is what makes times of this clock the registry's, as far as they differ for certain; clockKnown: a heartbeat was answered.
	shift      time.Duration
	clockKnown bool
	// orders are the latest that came; ordersOf is the server that they are for, and empty while there are none.
	orders   registry.Answer
	ordersOf registry.ID
}

// New makes a Member. Nothing happens before Run.
func New(cfg Config) (*Member, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	return &Member{
		cfg:      cfg,
		store:    &store{path: cfg.StateFile},
		pace:     newPacer(rand.Float64),
		breaker:  newBreaker(cfg.Interval),
		urgent:   rate.NewLimiter(rate.Every(cfg.Interval), urgentBurst),
		turn:     make(chan struct{}, 1),
		beatWake: make(chan struct{}, 1),
		workWake: make(chan struct{}, 1),
		stop:     make(chan struct{}),
		state:    State{Phase: Joining, Interval: cfg.Interval},
	}, nil
}

// Run keeps the node in the fleet until the context ends, and then returns nil. That the fleet cannot be reached, or refuses the
// node, is no error: State says so. What is one is a state file that cannot be read or is not this package's ([ErrState]), and
// a second Run.
func (m *Member) Run(ctx context.Context) error {
	finished := make(chan struct{})
	m.mu.Lock()
	again := m.finished != nil
	if !again {
		m.finished = finished
		m.state.Since = time.Now()
		m.ambiguous = time.Now() // the process before may have been killed while it registered
	}
	m.mu.Unlock()
	if again {
		return errors.New("membership: Run was called before; a Member runs once")
	}
	if err := m.load(); err != nil {
		close(finished)
		return err
	}

	var tasks sync.WaitGroup
	tasks.Go(func() { m.beats(ctx) })
	tasks.Go(func() { m.works(ctx) })
	if m.cfg.Usage != nil {
		tasks.Go(func() { m.reports(ctx) })
	}
	tasks.Wait()
	close(finished)
	<-ctx.Done()
	return nil
}

func (m *Member) load() error {
	if err := m.store.load(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.showFileLocked()
	return nil
}

// SetDraining says whether the node itself wants no more sessions. The fleet is told as with Changed.
func (m *Member) SetDraining(draining bool) {
	m.mu.Lock()
	changed := m.state.Draining != draining
	m.state.Draining = draining
	m.mu.Unlock()
	if changed {
		m.Changed()
	}
}

// Changed says that the node's health may have changed. If it has since the last heartbeat, the fleet is told within a fifth of
// an interval, but only so often: three times in a row, and then once each interval beside the regular heartbeats. It returns at
// once, and may be called as often as one likes: the node is asked for its status once a second at most.
func (m *Member) Changed() {
	m.mu.Lock()
	m.wakeChanged = true
	m.mu.Unlock()
	wake(m.beatWake)
}

// beatNow has the next registration or heartbeat not wait, unless the last one failed.
func (m *Member) beatNow() {
	m.mu.Lock()
	m.wakeNow = true
	m.mu.Unlock()
	wake(m.beatWake)
}

func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // it has been called already
	}
}

// halt has all goroutines of Run end when they have done what they are at.
func (m *Member) halt() { m.stopOnce.Do(func() { close(m.stop) }) }

// pause waits, and says whether the context still goes on.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}

// sleep waits, and says whether to go on then. Woken is nil, or ends the wait as well.
func (m *Member) sleep(ctx context.Context, d time.Duration, woken <-chan struct{}) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-woken:
	case <-m.stop:
		return false
	case <-ctx.Done():
		return false
	}
	return ctx.Err() == nil && !m.stopped()
}

func (m *Member) stopped() bool {
	select {
	case <-m.stop:
		return true
	default:
		return false
	}
}

// takeTurn says whether the turn was had, which is to be given back then.
func (m *Member) takeTurn(ctx context.Context) bool {
	select {
	case m.turn <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

func (m *Member) endTurn() { <-m.turn }
