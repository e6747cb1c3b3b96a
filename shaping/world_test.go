package shaping

import (
	"encoding/binary"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// world is a scheduler in a synctest bubble, where time is virtual, with a record of what came out of it.
type world struct {
	t       require.TestingT
	s       *Scheduler
	start   time.Time
	rates   map[string]Rate // limits of leaves
	deeper  int             // how many packets more than usual fill queues
	onBatch func([]*Packet) // called before a batch is recorded

	mu     sync.Mutex
	output []event
}

// event is one packet that came out.
type event struct {
	at   time.Duration // since the world's start
	src  *source
	seq  uint64 // in its flow
	flow uint32
	n    int
	wait time.Duration // since it was enqueued
}

// source is one peer's traffic.
type source struct {
	w    *world
	id   string
	leaf *Leaf
	next map[uint32]uint64 // sequence number by flow
}

const testMTU = 1420

func newWorld(t require.TestingT, tune func(*Config)) *world {
	w := &world{t: t, start: time.Now(), rates: make(map[string]Rate)}
	cfg := Config{MTU: testMTU, Output: w.record}
	if tune != nil {
		tune(&cfg)
	}
	s, err := NewScheduler(cfg)
	require.NoError(t, err)
	s.packets.live = new(atomic.Int64)
	s.Start()
	w.s = s
	return w
}

// inWorld runs a test in a bubble, and checks at the end that every packet was given back.
func inWorld(t *testing.T, test func(t *testing.T, w *world)) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		defer w.close()
		test(t, w)
	})
}

func (w *world) close() {
	w.s.Close()
	require.Zero(w.t, w.s.packets.live.Load(), "packets leaked")
	require.Zero(w.t, w.s.memory.queued.Load(), "memory of packets that are gone is accounted for")
}

func (w *world) record(packets []*Packet) {
	if w.onBatch != nil {
		w.onBatch(packets)
	}
	now := time.Since(w.start)
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range packets {
		e := event{at: now, flow: p.Flow, n: len(p.Data), src: p.Owner.(*source)}
		if e.n >= 16 {
			e.seq = binary.BigEndian.Uint64(p.Data)
			e.wait = now - time.Duration(binary.BigEndian.Uint64(p.Data[8:]))
		}
		w.output = append(w.output, e)
		p.Free()
	}
}

// leaf makes a leaf or changes it.
func (w *world) leaf(id, group string, rate Rate) *source {
	l, err := w.s.SetLeaf(id, group, rate)
	require.NoError(w.t, err)
	w.rates[id] = rate
	return &source{w: w, id: id, leaf: l, next: make(map[uint32]uint64)}
}

func (w *world) group(id string, rate Rate) { require.NoError(w.t, w.s.SetGroup(id, rate)) }

func (s *source) packet(flow uint32, n int) *Packet {
	p := s.w.s.NewPacket(n)
	p.Flow, p.Owner = flow, s
	if n >= 16 {
		binary.BigEndian.PutUint64(p.Data, s.next[flow])
		binary.BigEndian.PutUint64(p.Data[8:], uint64(time.Since(s.w.start)))
	}
	s.next[flow]++
	return p
}

// send enqueues count packets at once.
func (s *source) send(flow uint32, n, count int) {
	packets := make([]*Packet, count)
	for i := range packets {
		packets[i] = s.packet(flow, n)
	}
	s.leaf.Enqueue(packets...)
}

// fill keeps the leaf's queue from running dry for a millisecond, at up to 300 Mbit/s where the leaf has no limit itself.
func (s *source) fill() {
	enough := 30 + s.w.deeper
	if rate := s.w.rates[s.id]; rate != Unlimited {
		enough = s.w.deeper + 5 + 2*int(rate.Bytes(time.Millisecond)/testMTU)
	}
	if n := enough - int(s.leaf.Stats().BacklogPackets); n > 0 {
		s.send(1, testMTU, n)
	}
}

// run lets time pass, with busy sources always having something to send.
func (w *world) run(d time.Duration, busy ...*source) {
	for end := time.Now().Add(d); time.Now().Before(end); {
		for _, s := range busy {
			s.fill()
		}
		time.Sleep(min(time.Millisecond, time.Until(end)))
		synctest.Wait()
	}
}

// measure runs and returns what each source got, in bit/s.
func (w *world) measure(d time.Duration, busy ...*source) map[string]float64 {
	w.run(50*time.Millisecond, busy...) // past the first burst
	before := w.sent()
	w.run(d, busy...)
	got := make(map[string]float64)
	for id, n := range w.sent() {
		got[id] = float64(n-before[id]) * 8 / d.Seconds()
	}
	return got
}

// sent returns the bytes that came out, by source.
func (w *world) sent() map[string]int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := make(map[string]int)
	for _, e := range w.output {
		n[e.src.id] += e.n
	}
	return n
}

// events returns what came out since the last call.
func (w *world) events() []event {
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	out := w.output
	w.output = nil
	return out
}

// within checks a rate to a fraction, or to two packets where those are more.
func (w *world) within(want Rate, got float64, fraction float64, d time.Duration, what string) {
	slack := max(float64(want)*fraction, 2*testMTU*8/d.Seconds())
	require.InDelta(w.t, float64(want), got, slack, "%s: %.0f bit/s instead of %v", what, got, want)
}

func leafNames(n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("leaf%d", i)
	}
	return names
}
