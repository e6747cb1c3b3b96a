package wgnode

import (
	"context"
	"sync"
)

// phase is where a node is in its life:
//
//	         Start                ok
//	idle ------------> starting ------> running
//	 | ^                | |               |
//	 | +--- failed -----+ |               | Close, or a fatal error
//	 |                    | Close         |
//	 +-------- Close -----+---> closing <-+
//	                               |
//	                               v
//	                            closed
type phase int

const (
	idle phase = iota
	starting
	running
	closing
	closed
)

func (p phase) String() string {
	return [...]string{"idle", "starting", "running", "closing", "closed"}[p]
}

// lifecycle keeps the phase and lets one caller at a time change it.
type lifecycle struct {
	mu          sync.Mutex
	phase       phase
	cancelStart context.CancelFunc // set while starting
	startDone   chan struct{}      // closed when the start that is under way has ended
	stop        context.CancelFunc // set while running: ends what the node does of its own accord
	fatal       error              // why the node closed itself
	closeErr    error              // what Close returns

	closing chan struct{} // closed when closing begins
	done    chan struct{} // closed when the node is closed
}

func newLifecycle() lifecycle {
	return lifecycle{closing: make(chan struct{}), done: make(chan struct{})}
}

// check returns nil while the node is running, else why it is not.
func (l *lifecycle) check() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch l.phase {
	case running:
		return nil
	case idle, starting:
		return ErrNotStarted
	default:
		return ErrClosed
	}
}

func (l *lifecycle) current() phase {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.phase
}

// beginStart moves from idle to starting. The context that it returns ends when Close is called.
func (l *lifecycle) beginStart(ctx context.Context) (context.Context, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch l.phase {
	case idle:
	case starting, running:
		return nil, ErrStarted
	default:
		return nil, ErrClosed
	}
	ctx, l.cancelStart = context.WithCancel(ctx)
	l.phase = starting
	l.startDone = make(chan struct{})
	return ctx, nil
}

// endStart moves on from starting: to running, with the context of the node's life, if the node is up and still wanted,
// which it reports; else back to idle, or nowhere if Close was called meanwhile.
func (l *lifecycle) endStart(up bool) (context.Context, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer close(l.startDone)
	l.cancelStart()
	switch {
	case l.phase == closing:
		return nil, false
	case !up:
		l.phase = idle
		return nil, false
	}
	l.phase = running
	var ctx context.Context
	ctx, l.stop = context.WithCancel(context.Background())
	return ctx, true
}

// beginClose moves to closing, once: first is true for the caller who has to see it through. was is the phase before,
// which is never starting, as a start under way is cancelled and waited for.
func (l *lifecycle) beginClose(fatal error) (was phase, first bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	was = l.phase
	if was == closing || was == closed {
		return was, false
	}
	l.phase, l.fatal = closing, fatal
	close(l.closing)
	switch was {
	case running:
		l.stop()
	case starting:
		l.cancelStart()
		started := l.startDone
		l.mu.Unlock()
		<-started
		l.mu.Lock()
	}
	return was, true
}

// endClose moves to closed.
func (l *lifecycle) endClose(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.phase, l.closeErr = closed, err
	close(l.done)
}
