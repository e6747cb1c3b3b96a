package shaping

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// DefaultMemory is the bound of all queues of a [Scheduler] together, in bytes.
const DefaultMemory = 64 << 20

// Config is what a [Scheduler] is made of. Only Output must be set.
type Config struct {
	// MTU is the size of the largest IP packet in bytes, 576 to 65,535; 0 is [DefaultMTU]. Longer packets, up to 65,535, pass
	// too, but are not pooled, and Memory takes one for one of MTU.
	MTU int

	// Output takes packets whose time has come, and owns them: it must see to it that each is freed. The slice is the
	// scheduler's and must not be kept. Output is called with no lock held; for one leaf by one goroutine at a time, and
	// in order; for different groups by several at once, from within Enqueue as well as from the scheduler's own
	// goroutine. It may block for a while, and delays the leaves of the same group by that; when it blocks the
	// scheduler's goroutine, those who wait for a token wait longer, and lose nothing of their rate within 200 ms. It may
	// call Enqueue of this or another scheduler, but not Close.
	Output func(packets []*Packet)

	// Headroom is how many bytes each packet from NewPacket has in front of its Data, at most 1,024.
	Headroom int

	// Memory bounds the buffers of all queued packets, in bytes; 0 is [DefaultMemory], the least is 1 MiB. No leaf may queue
	// more than is still free, so that a few greedy leaves cannot keep others out, and a quarter is for those that queue
	// hardly anything.
	Memory int

	// Tuning sets bursts and queues.
	Tuning Tuning
}

func (c Config) validate() error {
	var errs []error
	if c.Output == nil {
		errs = append(errs, fmt.Errorf("%w: Output is nil; set the function that takes packets on", ErrConfig))
	}
	if c.Headroom < 0 || c.Headroom > 1024 {
		errs = append(errs, fmt.Errorf("%w: Headroom is %d; choose 0 to 1024 bytes", ErrConfig, c.Headroom))
	}
	if c.Memory < 1<<20 {
		errs = append(errs, fmt.Errorf("%w: Memory is %d; choose at least 1048576 bytes", ErrConfig, c.Memory))
	}
	return errors.Join(errs...)
}

// Scheduler shapes one direction of a tunnel: a hierarchy of token buckets with a fair, short queue at each leaf. All its
// methods are safe for concurrent use.
//
// Locks are taken in this order: Scheduler.mu, group.mu, then root.mu or pacer.mu. A packet takes its group's alone, and the
// root's if the root is limited; none of them is held while Output runs.
type Scheduler struct {
	output  func([]*Packet)
	planner *Planner
	quantum int64
	mtu     int32
	codel   codelParams // before they are adapted to a rate

	packets *packetPool
	batches sync.Pool // *batch
	tables  sync.Pool // *flowTable, all empty
	epoch   time.Time
	state   atomic.Int32
	// stalled is for how long, in ns and in all, the pacer was not where it should have been: its timer was late, or Output
	// held it. Lateness within a tick is what bursts are for, and not counted.
	stalled atomic.Int64

	// Each line of the cache that packets write is kept from those that they only read.
	_      [64]byte
	memory memory
	_      [64]byte
	root   root
	_      [64]byte
	pacer  pacer

	mu     sync.Mutex
	limit  Rate // the root's
	groups map[string]*group
	leaves map[string]*Leaf
	drains []<-chan struct{} // see awaitLater
}

// States of a Scheduler, each followed by the next.
const (
	stateNew int32 = iota
	stateRunning
	stateClosed
)

// NewScheduler returns a scheduler with an unlimited root and no leaves. It starts nothing. Errors match [ErrConfig] and name
// everything that is wrong.
func NewScheduler(cfg Config) (*Scheduler, error) {
	if cfg.Memory == 0 {
		cfg.Memory = DefaultMemory
	}
	planner, err := NewPlanner(cfg.MTU, cfg.Tuning)
	if err := errors.Join(cfg.validate(), err); err != nil {
		return nil, err
	}
	params := planner.Root(Unlimited)
	s := &Scheduler{
		output:  cfg.Output,
		planner: planner,
		quantum: int64(params.Quantum),
		mtu:     int32(planner.mtu),
		packets: newPacketPool(planner.mtu, cfg.Headroom),
		epoch:   time.Now(),
		groups:  make(map[string]*group),
		leaves:  make(map[string]*Leaf),
	}
	s.codel = codelParams{target: int64(planner.tuning.Target), interval: int64(planner.tuning.Interval)}
	s.memory.limit, s.memory.buffer = int64(cfg.Memory), int64(s.packets.size)
	s.batches.New = func() any { return new(batch) }
	s.tables.New = func() any { return new(flowTable) }
	s.root.init(s)
	s.pacer.init()
	return s, nil
}

// NewPacket returns a packet whose Data has length n, with whatever content it had before. It is Free's to give back.
func (s *Scheduler) NewPacket(n int) *Packet { return s.packets.get(n) }

// Start begins to shape, on one goroutine for all leaves. Until then, and after Close, packets that are enqueued are dropped.
// Start does nothing the second time, or after Close.
func (s *Scheduler) Start() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state.CompareAndSwap(stateNew, stateRunning) {
		s.pacer.done.Go(s.pace)
	}
}

// Close drops what is queued, waits for every call of Output to return, and ends the scheduler's goroutine. It may be called
// at any time, more than once, but not from within Output.
func (s *Scheduler) Close() {
	s.mu.Lock()
	if s.state.Swap(stateClosed) != stateClosed {
		close(s.pacer.stop)
	}
	// From here on nothing is enqueued: Enqueue looks at the state under the lock that the leaf is emptied under.
	for _, l := range s.leaves {
		g := l.lock()
		l.clear(g)
		s.awaitLater(g)
		g.mu.Unlock()
	}
	for _, g := range s.groups {
		g.mu.Lock()
		s.awaitLater(g)
		g.mu.Unlock()
	}
	drains := s.drains
	s.mu.Unlock()
	for _, done := range drains {
		<-done
	}
	s.pacer.done.Wait()
}

// awaitLater remembers for Close that a group which it may not find any more is in Output. Both s.mu and g.mu are held.
func (s *Scheduler) awaitLater(g *group) {
	s.drains = slices.DeleteFunc(s.drains, func(done <-chan struct{}) bool {
		select {
		case <-done:
			return true
		default:
			return false
		}
	})
	if done := g.drained(); done != nil {
		s.drains = append(s.drains, done)
	}
}

func (s *Scheduler) running() bool { return s.state.Load() == stateRunning }

// now returns the scheduler's time in nanoseconds, never 0. The clock is that of package time, so it is monotonic, and
// virtual within testing/synctest.
func (s *Scheduler) now() int64 { return int64(time.Since(s.epoch)) + 1 }

// moment returns the time, and how late the pacer has been so far.
func (s *Scheduler) moment() moment { return moment{s.now(), s.stalled.Load()} }

// batch is what one call of Output gets.
type batch struct {
	packets [batchSize]*Packet
	n       int
}

// batchSize is the number of packets that wireguard-go moves at once (conn.IdealBatchSize).
const batchSize = 128

func (b *batch) add(p *Packet) {
	b.packets[b.n] = p
	b.n++
}

func (b *batch) full() bool { return b.n == batchSize }

func (b *batch) reset() {
	clear(b.packets[:b.n])
	b.n = 0
}

func (s *Scheduler) getBatch() *batch { return s.batches.Get().(*batch) }
