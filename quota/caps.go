package quota

import (
	"slices"
	"sync"
)

// maxCaps is how many caps are kept by [Caps]. Who sells a handful of plans has a handful; beyond that a cap is as likely as not
// its subject's alone.
const maxCaps = 1024

// Caps keeps caps that many subjects have once for all of them: a cap, and what follows from it, takes more than all else of a
// ledger, and with a time zone some KB. The zero value is ready to use; its methods are safe for concurrent use.
type Caps struct {
	mu    sync.Mutex
	known map[capKey]*terms
}

// capKey tells caps apart, also those that come to the same.
type capKey struct {
	cap        plainKey
	defaults   bool // of thresholds
	thresholds [2]uint64
}

// plainKey is a Cap without thresholds.
type plainKey struct {
	bytes              Bytes
	counted            Counted
	period             Period
	atEnd              Action
	downloads, uploads uint64
}

// keyOf returns the key of a cap that is valid; ok is false for thresholds that are not in ascending order, which are kept as they
// are.
func keyOf(c *Cap) (key capKey, ok bool) {
	key.cap = plainKey{c.Bytes, c.Counted, c.Period, c.AtEnd, c.ThrottleDownload, c.ThrottleUpload}
	key.defaults = c.Thresholds == nil
	for _, percent := range c.Thresholds {
		key.thresholds[percent/64] |= 1 << (percent % 64)
	}
	return key, slices.IsSorted(c.Thresholds)
}

// Share has a ledger share its cap with the other ledgers that were given to Share. It must not run beside the ledger's other
// methods, and changes nothing that they show.
func (c *Caps) Share(l *Ledger) { l.terms = c.keep(l.terms) }

func (c *Caps) keep(t *terms) *terms {
	key, ok := keyOf(&t.cap)
	if !ok {
		return t
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if known := c.known[key]; known != nil {
		return known
	}
	if c.known == nil || len(c.known) >= maxCaps {
		c.known = make(map[capKey]*terms)
	}
	c.known[key] = t
	return t
}
