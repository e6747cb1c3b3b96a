package wgnode

import "time"

// tenure is what interrupts and what ends the stay of a peer. Of an account's only suspended is ever set.
type tenure struct {
	// suspended: Suspend was called for it; accountSuspended: for its account.
	suspended, accountSuspended bool
	// lapsed: the expiry has come, and the grace period runs.
	lapsed bool

	// expiry is nil for what stays.
	expiry *expiry

	// idleTimeout is zero for a peer that may be silent for ever.
	idleTimeout time.Duration
	// seen is how long the node had run, in all its life, when the peer last gave a sign of its own.
	seen time.Duration
	// handshake is the last one that the dataplane told of since the node was started.
	handshake instant
	// idleAt is when the peer will have been idle for too long; zero: never.
	idleAt instant
}

// active reports whether packets of the peer pass: whether the dataplane has it.
func (t *tenure) active() bool { return !t.suspended && !t.accountSuspended && !t.lapsed }

// expired reports that expiresAt has come.
func (t *tenure) expired(now time.Time) bool {
	return !t.expiresAt().IsZero() && !t.expiresAt().After(now)
}

// over reports that the grace period is past, too.
func (t *tenure) over(now time.Time) bool { return t.expired(now) && !t.removeAt().After(now) }

// removeAt is when a peer that expires is removed.
func (t *tenure) removeAt() time.Time { return t.expiresAt().Add(t.gracePeriod()) }

// watched reports whether the peer's silence counts.
func (t *tenure) watched() bool { return t.active() && t.idleTimeout > 0 }

// next is when something of this comes to its time; zero: never.
func (t *tenure) next() time.Time {
	end := t.expiresAt()
	if t.lapsed {
		end = t.removeAt()
	}
	return earlier(end, t.idleAt.time())
}

// expiry is when something's time is over, and for how long it is kept then. It is never changed.
type expiry struct {
	at    time.Time // zero: never
	grace time.Duration
}

// expiryOf is nil if there is nothing to know.
func expiryOf(at time.Time, grace time.Duration) *expiry {
	if at.IsZero() && grace == 0 {
		return nil
	}
	return &expiry{at, grace}
}

// expiresAt is zero for what stays.
func (t *tenure) expiresAt() time.Time {
	if t.expiry == nil {
		return time.Time{}
	}
	return t.expiry.at
}

func (t *tenure) gracePeriod() time.Duration {
	if t.expiry == nil {
		return 0
	}
	return t.expiry.grace
}
