package membership

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/failsafe-go/failsafe-go/circuitbreaker"

	"github.com/waylume/waylume/registry"
)

const (
	breakerFailures = 5   // in sequence, until nothing is asked for about an interval
	breakerJitter   = 0.5 // of that interval
)

var errBreakerOpen = fmt.Errorf("%w: it failed %d times in sequence, and is not asked for a while",
	registry.ErrUnavailable, breakerFailures)

func newBreaker(interval time.Duration) circuitbreaker.CircuitBreaker[any] {
	return circuitbreaker.NewBuilder[any]().
		WithFailureThreshold(breakerFailures).
		WithSuccessThreshold(1). // half-open, it lets one call through, which decides
		WithDelay(interval).
		WithJitterFactor(breakerJitter).
		Build()
}

// ask makes one call of the registry, with a time-out, if the breaker lets it.
func (m *Member) ask(ctx context.Context, count func(*State), call func(context.Context) error) error {
	if !m.breaker.TryAcquirePermit() {
		return errBreakerOpen
	}
	limited, cancel := context.WithTimeoutCause(ctx, m.cfg.Timeout,
		fmt.Errorf("%w: no answer within %s", registry.ErrUnavailable, m.cfg.Timeout))
	defer cancel()
	err := call(limited)
	if err != nil && limited.Err() != nil && ctx.Err() == nil && !errors.Is(err, registry.ErrUnavailable) {
		err = fmt.Errorf("%w: %w", context.Cause(limited), err)
	}
	if answered(err) {
		m.breaker.RecordSuccess()
	} else {
		m.breaker.RecordFailure()
	}

	m.mu.Lock()
	defer m.mu.Unlock()
	count(&m.state)
	if err == nil {
		m.state.LastSuccess = time.Now()
	} else {
		m.state.Failed++
	}
	return err
}

// answered says that the registry has answered, even if what it said was no.
func answered(err error) bool {
	if err == nil {
		return true
	}
	if errors.Is(err, registry.ErrUnavailable) {
		return false
	}
	for _, refusal := range []error{
		registry.ErrInvalid, registry.ErrNameTaken, registry.ErrUnknownServer, registry.ErrSuperseded, registry.ErrDenied, registry.ErrGap,
	} {
		if errors.Is(err, refusal) {
			return true
		}
	}
	return false
}
