package membership

import (
	"errors"
	"sync"
	"time"
)

const (
	// firstBackoff bounds the wait before the first retry; it doubles each time, up to two intervals.
	firstBackoff = time.Second
	// A retry is a call that comes sooner than the next regular one would. They are at most retryShare of the regular calls,
	// and maxRetries more at once.
	retryShare = 0.2
	maxRetries = 2.0

	jitter = 0.1 // of a regular interval, to either side

	// maxRetryAfter is for how long a registry may ask not to be asked.
	maxRetryAfter = MaxInterval
)

// pacer says when to ask the next time, so that nodes that were stopped together do not come back together, and that a registry
// that is in trouble is not asked more for it.
type pacer struct {
	random func() float64 // 0 <= x < 1

	mu      sync.Mutex
	retries float64
}

func newPacer(random func() float64) *pacer { return &pacer{random: random, retries: maxRetries} }

// within is any time below limit.
func (p *pacer) within(limit time.Duration) time.Duration {
	return time.Duration(p.random() * float64(limit))
}

// around is d, and a share of it more or less at most.
func (p *pacer) around(d time.Duration, share float64) time.Duration {
	return time.Duration(float64(d) * (1 - share + 2*share*p.random()))
}

// regular is the time to the next regular call, which earns a part of a retry.
func (p *pacer) regular(interval time.Duration) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.retries = min(p.retries+retryShare, maxRetries)
	return p.around(interval, jitter)
}

// afterFailure is the time to the next call after so many failures in sequence, at least 1: with full jitter, which spreads
// callers best (Brooker, Exponential Backoff and Jitter, 2015), and no sooner than a regular call when the retries are used up.
func (p *pacer) afterFailure(failures int, interval time.Duration) time.Duration {
	ceiling := 2 * interval
	if shift := failures - 1; shift < 16 { // above, any interval is exceeded
		ceiling = min(ceiling, firstBackoff<<shift)
	}
	wait := p.within(ceiling)
	if wait >= time.Duration(float64(interval)*(1-jitter)) || !p.retry() {
		return max(wait, p.regular(interval))
	}
	return wait
}

// afterError is as afterFailure, but no sooner than the registry asks for, where the error has that: a method RetryAfter. Those that
// it has asked at once do not come back at once.
func (p *pacer) afterError(err error, failures int, interval time.Duration) time.Duration {
	wait := p.afterFailure(failures, interval)
	var asks interface{ RetryAfter() time.Duration }
	if !errors.As(err, &asks) || asks.RetryAfter() <= 0 {
		return wait
	}
	return max(wait, min(asks.RetryAfter(), maxRetryAfter)+p.within(interval/spreadShare))
}

func (p *pacer) retry() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.retries < 1 {
		return false
	}
	p.retries--
	return true
}
