package membership

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/waylume/waylume/registry"
)

// fault is what becomes of a call.
type fault int

const (
	works fault = iota
	lostBefore
	lostAfter // it took effect, and the answer was lost
	silent    // nobody answers
	late      // nobody answers, and it takes effect afterwards
)

// fakeFleet is a registry of which tests see all, and that can fail in each way.
type fakeFleet struct {
	mu       sync.Mutex
	servers  map[string]*fakeServer
	byID     map[registry.ID]*fakeServer
	made     int
	fault    func(call string) fault
	refuse   func(call string) error
	delay    time.Duration // each way
	ahead    time.Duration // of its clock
	interval int
	draining bool
	calls    []fakeCall
	forget   bool // calls are not remembered
	broken   []string
}

type fakeCall struct {
	at   time.Time
	name string
}

type fakeServer struct {
	registry.Registered
	registry.Registration
	known    bool
	last     registry.Heartbeat
	beats    []registry.Heartbeat
	releases []registry.Release
	reports  []registry.UsageReport
	// carriedOut says what the node has on its disk.
	carriedOut func(sequence int64) bool
}

func newFakeFleet() *fakeFleet {
	return &fakeFleet{servers: map[string]*fakeServer{}, byID: map[registry.ID]*fakeServer{}}
}

var errLost = errors.New("connection reset")

// call makes a call that takes effect or not.
func (f *fakeFleet) call(ctx context.Context, name string, effect func() error) error {
	f.mu.Lock()
	if !f.forget {
		f.calls = append(f.calls, fakeCall{time.Now(), name})
	}
	how, delay := works, f.delay
	if f.fault != nil {
		how = f.fault(name)
	}
	var refusal error
	if f.refuse != nil {
		refusal = f.refuse(name)
	}
	f.mu.Unlock()
	if err := sleepContext(ctx, delay); err != nil {
		return err
	}
	locked := func() error {
		f.mu.Lock()
		defer f.mu.Unlock()
		return effect()
	}
	switch how {
	case lostBefore:
		return errLost
	case silent, late:
		<-ctx.Done()
		if how == late {
			go func() {
				time.Sleep(7 * time.Second)
				_ = locked()
			}()
		}
		return ctx.Err()
	}
	if refusal != nil {
		return refusal
	}
	err := locked()
	if how == lostAfter {
		return errLost
	}
	return errors.Join(err, sleepContext(ctx, delay))
}

func sleepContext(ctx context.Context, d time.Duration) error {
	if d == 0 {
		return nil
	}
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (f *fakeFleet) Register(ctx context.Context, r registry.Registration) (registry.Registered, error) {
	var registered registry.Registered
	err := f.call(ctx, "register", func() error {
		s := f.servers[r.Name]
		if s == nil {
			f.made++
			s = &fakeServer{Registered: registry.Registered{Server: registry.ID(fmt.Sprintf("00000000-0000-4000-8000-%012d", f.made))}}
			f.servers[r.Name] = s
			f.byID[s.Server] = s
		}
		s.Registration, s.known = r, true
		s.Incarnation++
		s.last = registry.Heartbeat{}
		registered = s.Registered
		return nil
	})
	if err != nil { // it may take effect yet
		return registry.Registered{}, err
	}
	return registered, nil
}

func (f *fakeFleet) Heartbeat(ctx context.Context, h registry.Heartbeat) (registry.Answer, error) {
	var answer registry.Answer
	err := f.call(ctx, "heartbeat", func() error {
		s := f.byID[h.Server]
		switch {
		case s == nil || !s.known || h.Incarnation > s.Incarnation:
			return registry.ErrUnknownServer
		case h.Incarnation < s.Incarnation:
			return registry.ErrSuperseded
		}
		for q := range h.Released {
			if s.carriedOut != nil && !s.carriedOut(q+1) {
				f.broken = append(f.broken, fmt.Sprintf("release %d acknowledged and not carried out", q+1))
			}
		}
		if h.Sequence > s.last.Sequence {
			s.last = h
			if !f.forget {
				s.beats = append(s.beats, h)
			}
		}
		rest := s.releases[min(int(h.Released), len(s.releases)):]
		answer = registry.Answer{
			Now: time.Now().Add(f.ahead), Interval: f.interval, Draining: f.draining,
			Releases: slices.Clone(rest[:min(len(rest), registry.MaxReleases)]), More: len(rest) > registry.MaxReleases,
		}
		return nil
	})
	if err != nil {
		return registry.Answer{}, err
	}
	return answer, nil
}

func (f *fakeFleet) Drain(context.Context, registry.ID, bool) error { panic("heartbeats say it") }

func (f *fakeFleet) Deregister(ctx context.Context, server registry.ID) error {
	return f.call(ctx, "deregister", func() error {
		if s := f.byID[server]; s != nil {
			s.known = false
		}
		return nil
	})
}

func (f *fakeFleet) ReportUsage(ctx context.Context, r registry.UsageReport) (registry.UsageReceipt, error) {
	var receipt registry.UsageReceipt
	err := f.call(ctx, "usage", func() error {
		s := f.byID[r.Server]
		if s == nil {
			return registry.ErrUnknownServer
		}
		switch {
		case r.Sequence > s.UsageSequence+1:
			f.broken = append(f.broken, fmt.Sprintf("report %d after %d", r.Sequence, s.UsageSequence))
			return registry.ErrGap
		case r.Sequence == s.UsageSequence+1:
			s.UsageSequence++
			s.reports = append(s.reports, r)
		default:
			if before := len(s.reports) - int(s.UsageSequence-r.Sequence) - 1; before >= 0 && !same(s.reports[before], r) {
				f.broken = append(f.broken, fmt.Sprintf("report %d said something else before", r.Sequence))
			}
		}
		receipt.Sequence = s.UsageSequence
		return nil
	})
	if err != nil {
		return registry.UsageReceipt{}, err
	}
	return receipt, nil
}

// same says whether two reports say the same. Of one without usages nobody minds the times.
func same(a, b registry.UsageReport) bool {
	return slices.Equal(a.Usages, b.Usages) && (len(a.Usages) == 0 || a.From.Equal(b.From) && a.To.Equal(b.To))
}

// set changes how the fleet behaves.
func (f *fakeFleet) set(change func(f *fakeFleet)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f)
}

func (f *fakeFleet) outage(how fault) {
	f.set(func(f *fakeFleet) { f.fault = func(string) fault { return how } })
}

func (f *fakeFleet) heal() { f.set(func(f *fakeFleet) { f.fault, f.refuse = nil, nil }) }

// count returns how many calls of a name there were; "" is all.
func (f *fakeFleet) count(name string) (n int) {
	f.set(func(f *fakeFleet) {
		for _, c := range f.calls {
			if name == "" || c.name == name {
				n++
			}
		}
	})
	return n
}

// server returns the server of a name, as it is now.
func (f *fakeFleet) server(name string) (s fakeServer) {
	f.set(func(f *fakeFleet) {
		if there := f.servers[name]; there != nil {
			s = *there
			s.beats, s.reports = slices.Clone(s.beats), slices.Clone(s.reports)
		}
	})
	return s
}

// release has a server release so many more sessions.
func (f *fakeFleet) release(name string, n int) {
	f.set(func(f *fakeFleet) {
		s := f.servers[name]
		for range n {
			s.releases = append(s.releases, registry.Release{Sequence: int64(len(s.releases) + 1), Generation: 1})
		}
	})
}
