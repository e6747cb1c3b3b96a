package crashtest

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/waylume/waylume/internal/testutil/vm"
)

// plan is how a life is to go.
type plan struct {
	// fault is where the process kills itself, if it comes to that.
	fault fault
	// early has it killed so long after its birth, as a rule while it starts; 0 does not.
	early time.Duration
	// life is how long it has from its start; then it is killed.
	life time.Duration
	// close has it closed instead; idle has nobody ask anything of it, and calm nothing that concerns those who send.
	close, idle, calm bool
}

func (p plan) String() string {
	switch {
	case p.fault.Nth > 0 && p.fault.After:
		return "after " + p.fault.Where
	case p.fault.Nth > 0 && p.fault.Within > 0:
		return "within " + p.fault.Where
	case p.fault.Nth > 0:
		return "before " + p.fault.Where
	case p.early > 0:
		return "soon after birth"
	case p.close:
		return "closed"
	}
	return "at random"
}

// drawPlan makes a plan for a process that takes birth to start.
func drawPlan(r *rand.Rand, birth time.Duration) (p plan) {
	p.life = microseconds(r, 150_000)
	if vm.Inside() { // which is so much slower
		p.life *= 15
	}
	switch n := r.IntN(100); {
	case n < 4:
		p.life += 1200 * time.Millisecond // beyond a period of the node's
	case n < 5:
		p.life += mostForgotten + checkpointPeriod
	}
	p.calm = r.IntN(2) == 0
	switch n := r.IntN(100); {
	case n < 50:
		p.fault = drawFault(r)
		p.close = p.fault.Where == atCloseDataplane || p.fault.Where == atCloseStore
	case n < 60:
		p.early = microseconds(r, int(birth/time.Microsecond)+1)
	case n < 64:
		p.close = true
	case n < 69:
		p.close, p.idle = true, true
	}
	return p
}

func drawFault(r *rand.Rand) (f fault) {
	f.Nth = 1
	switch f.Where = pick(r, []string{
		atCommit, atCommit, atCommit, atCommit, atApply, atApply, atApply, atStart, atSync, atStats, atLoad, atCloseDataplane, atCloseStore, atLog,
	}); f.Where {
	case atCommit, atApply, atLog:
		f.Nth += r.IntN(20)
	case atStats:
		f.Nth += r.IntN(80)
	case atSync:
		f.Nth += r.IntN(3)
	}
	switch r.IntN(3) {
	case 0:
		f.After = true
	case 1:
		f.Within = microseconds(r, 3000)
	}
	return f
}

// summary is what a campaign has done.
type summary struct {
	kills       int
	by          map[string]int // kills, by plan
	missed      int            // faults that were not come to
	starts      int
	startTime   time.Duration // of all starts
	slowest     time.Duration // start
	calls       int           // answered
	doubts      int           // calls that were cut off
	doubtful    int           // of these, made
	batches     int           // cut off, but in the file
	checkpoints int           // lives that had one
	passed      uint64        // bytes that came
	lost        uint64        // bytes of one subject in one life that came and were forgotten by a death, at most
	exhausted   int           // caps used up
	gone        int           // subjects that were removed, and whose last usage was looked at
	ended       int           // peers that came to their end
	rolled      int           // periods that ended between two starts, with nothing else changed
	took        time.Duration
}

func newSummary() *summary { return &summary{by: make(map[string]int)} }

func (s *summary) String() string {
	return fmt.Sprintf("%d kills in %v, %v each: %v, %d faults not come to; %d starts in %v each, at most %v; %d calls answered, "+
		"%d cut off, %d of them made; %d batches cut off but stored; %d lives with a checkpoint; %d bytes passed, %d forgotten at most by one subject in one life that was killed, "+
		"%d caps used up, %d peers expired, %d periods ended, %d subjects removed",
		s.kills, s.took.Round(time.Millisecond), (s.took / time.Duration(max(s.kills, 1))).Round(time.Millisecond), s.by, s.missed, s.starts,
		(s.startTime / time.Duration(max(s.starts, 1))).Round(time.Millisecond), s.slowest.Round(time.Millisecond), s.calls, s.doubts,
		s.doubtful, s.batches, s.checkpoints, s.passed, s.lost, s.exhausted, s.ended, s.rolled, s.gone)
}
