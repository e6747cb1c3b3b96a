// Package replay remembers which tokens have been used, until they expire: in memory, exactly and within a bound, and in a
// journal that outlives the process, if there is one.
package replay

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"
	"time"
)

var (
	// ErrUsed says that the token was used before.
	ErrUsed = errors.New("the token was used before")
	// ErrFull says that as many tokens are remembered as may be; none is forgotten for another.
	ErrFull = errors.New("too many tokens at a time")
	// ErrExpired says that the token is older than what is remembered.
	ErrExpired = errors.New("the token has expired")
)

// ID stands for one token.
type ID [sha256.Size]byte

// Of returns the ID of a key's token: no two tokens share one but by a collision of SHA-256.
func Of(kid, jti string) ID {
	return sha256.Sum256(fmt.Appendf(nil, "%d %s%s", len(kid), kid, jti))
}

// Cache remembers tokens. It may be used concurrently.
type Cache struct {
	max     int
	journal *Journal // nil: in memory only

	mu     sync.Mutex
	used   map[ID]struct{}
	until  map[int64][]ID // those of used by the second after which they are forgotten
	oldest int64          // no key of until is less
	latest int64          // the latest time seen: what has expired by then is forgotten, and refused however the clock is set
}

// New returns a cache of at most limit tokens, which has what the journal remembers. nil: there is no journal.
func New(limit int, journal *Journal, now time.Time) *Cache {
	c := &Cache{max: limit, journal: journal, used: make(map[ID]struct{}), until: make(map[int64][]ID), latest: now.Unix()}
	if journal != nil {
		for _, e := range journal.found {
			c.keepLocked(e.id, e.until)
		}
		journal.found = nil
	}
	return c
}

// Use marks a token as used, once: whatever is tried concurrently, one caller has no error. Until is the last second in which the
// token may be accepted. ErrUsed, ErrFull and ErrExpired say why not; any other error is the journal's, and the token is lost.
func (c *Cache) Use(id ID, now time.Time, until int64) error {
	if err := c.mark(id, now.Unix(), until); err != nil {
		return err
	}
	if c.journal == nil {
		return nil
	}
	return c.journal.append(entry{id, until}, now.Unix())
}

func (c *Cache) mark(id ID, now, until int64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forgetLocked(now)
	if until < c.latest {
		return ErrExpired
	}
	if _, ok := c.used[id]; ok {
		return ErrUsed
	}
	if len(c.used) >= c.max {
		return ErrFull
	}
	c.keepLocked(id, until)
	return nil
}

func (c *Cache) keepLocked(id ID, until int64) {
	if len(c.until) == 0 || until < c.oldest {
		c.oldest = until
	}
	c.used[id] = struct{}{}
	c.until[until] = append(c.until[until], id)
}

// forgetLocked forgets what has expired.
func (c *Cache) forgetLocked(now int64) {
	if now <= c.latest {
		return
	}
	c.latest = now
	if len(c.until) == 0 {
		return
	}
	// A step of the clock may be long: there are no more seconds than tokens.
	if now-c.oldest > int64(len(c.until)) {
		for second := range c.until {
			c.forgetSecondLocked(second, now)
		}
		c.oldest = now
		return
	}
	for ; c.oldest < now; c.oldest++ {
		c.forgetSecondLocked(c.oldest, now)
	}
}

func (c *Cache) forgetSecondLocked(second, now int64) {
	if second >= now {
		return
	}
	for _, id := range c.until[second] {
		delete(c.used, id)
	}
	delete(c.until, second)
}

// Len is how many tokens are remembered.
func (c *Cache) Len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.used)
}

// Close closes the journal.
func (c *Cache) Close() error {
	if c.journal == nil {
		return nil
	}
	return c.journal.Close()
}
