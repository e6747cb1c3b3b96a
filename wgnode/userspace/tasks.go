package userspace

import (
	"errors"
	"sync"
	"sync/atomic"
)

// tasks counts the goroutines of a dataplane, so that Close can join them. The zero value is ready to use.
type tasks struct {
	mu     sync.Mutex
	closed bool // guarded by mu
	wg     sync.WaitGroup
}

// enter announces a goroutine, or reports false once wait was called.
func (t *tasks) enter() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return false
	}
	t.wg.Add(1)
	return true
}

func (t *tasks) leave() { t.wg.Done() }

// run starts f in a goroutine, unless wait was called.
func (t *tasks) run(f func()) {
	if t.enter() {
		go func() {
			defer t.leave()
			f()
		}()
	}
}

// wait lets nothing new in and joins what is there.
func (t *tasks) wait() {
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
	t.wg.Wait()
}

// drops counts what the peers' bounds refused, by reason. The zero value is ready to use.
type drops struct {
	tooFast, tooMany, noMemory, queueFull atomic.Uint64
}

func (d *drops) add(err error) {
	switch {
	case errors.Is(err, errTooFast):
		d.tooFast.Add(1)
	case errors.Is(err, errTooMany):
		d.tooMany.Add(1)
	case errors.Is(err, errNoMemory):
		d.noMemory.Add(1)
	case errors.Is(err, errQueueFull):
		d.queueFull.Add(1)
	}
}

func (d *drops) addTo(totals map[string]uint64) {
	for reason, n := range map[string]*atomic.Uint64{
		"new flow rate": &d.tooFast, "flow limit": &d.tooMany, "flow memory": &d.noMemory, "host socket full": &d.queueFull,
	} {
		if n := n.Load(); n > 0 {
			totals[reason] += n
		}
	}
}
