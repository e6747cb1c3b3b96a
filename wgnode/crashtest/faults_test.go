package crashtest

import (
	"context"
	"iter"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/waylume/waylume/usagelog"
	"github.com/waylume/waylume/wgnode"
)

// Fault points: the calls that a node makes.
const (
	atLoad           = "load"
	atCommit         = "commit"
	atStart          = "start"
	atApply          = "apply"
	atSync           = "sync"
	atStats          = "stats"
	atCloseDataplane = "close dataplane"
	atCloseStore     = "close store"
	atLog            = "log usage"
)

// trap kills this process at a fault.
type trap struct {
	fault fault
	mu    sync.Mutex
	calls int // guarded by mu
}

// enter is called when a call begins, and what it returns when it has ended.
func (t *trap) enter(where string) (leave func()) {
	if t.fault.Nth == 0 || where != t.fault.Where {
		return func() {}
	}
	t.mu.Lock()
	t.calls++
	hit := t.calls == t.fault.Nth
	t.mu.Unlock()
	switch {
	case !hit:
	case t.fault.After:
		return die
	case t.fault.Within == 0:
		die()
	default:
		time.AfterFunc(t.fault.Within, die)
	}
	return func() {}
}

// die ends this process as a power cut would, as far as it is concerned: nothing of it runs any more.
func die() {
	self, err := os.FindProcess(os.Getpid())
	if err == nil {
		err = self.Kill()
	}
	if err != nil {
		panic(err)
	}
	select {}
}

// mortalStore is a store with fault points, which tells what it is given.
type mortalStore struct {
	wgnode.Store
	trap     *trap
	tell     func(line)
	readings *readings
	mu       sync.Mutex // one commit at a time is told
}

// readings is when the last reading of all counters began.
type readings struct{ last atomic.Pointer[time.Time] }

// of is when the reading began that a batch stores; zero if it is no checkpoint.
func (r *readings) of(batch []wgnode.Mutation) time.Time {
	began := r.last.Load()
	if began == nil || slices.ContainsFunc(batch, func(m wgnode.Mutation) bool {
		return m.Kind == wgnode.RecordPeer || m.Kind == wgnode.RecordAccount
	}) {
		return time.Time{}
	}
	return *began
}

func (s *mortalStore) Load(ctx context.Context) iter.Seq2[wgnode.Record, error] {
	return func(yield func(wgnode.Record, error) bool) {
		defer s.trap.enter(atLoad)()
		s.Store.Load(ctx)(yield)
	}
}

func (s *mortalStore) Commit(ctx context.Context, batch []wgnode.Mutation) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(batch) == 0 {
		return s.Store.Commit(ctx, batch)
	}
	s.tell(line{Committing: batch})
	leave := s.trap.enter(atCommit)
	err := s.Store.Commit(ctx, batch)
	leave()
	if err != nil {
		s.tell(line{Refused: true})
		return err
	}
	s.tell(line{Committed: true, Reading: s.readings.of(batch)})
	return nil
}

func (s *mortalStore) Close() error {
	defer s.trap.enter(atCloseStore)()
	return s.Store.Close()
}

// mortalLog is a usage log with fault points, which tells when it is written to.
type mortalLog struct {
	wgnode.UsageLog
	trap *trap
	tell func(line)
}

func (l *mortalLog) Append(ctx context.Context, at time.Time, readings []usagelog.Reading) error {
	defer l.enter()()
	return l.UsageLog.Append(ctx, at, readings)
}

func (l *mortalLog) AppendSome(ctx context.Context, at time.Time, readings []usagelog.Reading) error {
	defer l.enter()()
	return l.UsageLog.AppendSome(ctx, at, readings)
}

func (l *mortalLog) enter() (leave func()) {
	l.tell(line{Logging: true})
	left := l.trap.enter(atLog)
	return func() {
		left()
		l.tell(line{Logged: true})
	}
}

// mortalDataplane is a dataplane with fault points.
type mortalDataplane struct {
	wgnode.Dataplane
	trap     *trap
	readings *readings
}

func (d *mortalDataplane) Start(ctx context.Context, cfg wgnode.DataplaneConfig, want wgnode.State) (wgnode.DataplaneInfo, error) {
	defer d.trap.enter(atStart)()
	return d.Dataplane.Start(ctx, cfg, want)
}

func (d *mortalDataplane) Apply(ctx context.Context, change wgnode.Change) error {
	defer d.trap.enter(atApply)()
	return d.Dataplane.Apply(ctx, change)
}

func (d *mortalDataplane) Sync(ctx context.Context, want wgnode.State) ([]wgnode.Repair, error) {
	defer d.trap.enter(atSync)()
	return d.Dataplane.Sync(ctx, want)
}

func (d *mortalDataplane) Stats(ctx context.Context, query wgnode.StatsQuery) (wgnode.Stats, error) {
	defer d.trap.enter(atStats)()
	if query.All {
		now := time.Now()
		d.readings.last.Store(&now)
	}
	return d.Dataplane.Stats(ctx, query)
}

func (d *mortalDataplane) Close() error {
	defer d.trap.enter(atCloseDataplane)()
	return d.Dataplane.Close()
}
