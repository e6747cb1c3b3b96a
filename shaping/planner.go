package shaping

import (
	"errors"
	"fmt"
	"time"
)

const (
	// DefaultMTU is the usual size of the largest IP packet inside a WireGuard tunnel, in bytes.
	DefaultMTU = 1420
	minMTU     = 576 // every IPv4 host takes this much (RFC 791)
	maxMTU     = 65535

	// assuredRate is what a class below the root may send without borrowing, one byte a second. All classes borrow what
	// they send from their parent, which lends in turns; HTB wants some rate, and one this small cannot add up to more
	// than a parent's ceiling: 65,000 classes are assured half a Mbit/s.
	assuredRate Rate = 8

	// HTB warns of, and clamps, a quantum outside of these (net/sched/sch_htb.c, htb_change_class).
	minQuantum = 1000
	maxQuantum = 200_000

	// maxBurst keeps a bucket's fixed point within 63 bits; at 100 Gbit/s it is 10 ms.
	maxBurst = 128 << 20
	// maxQueue bounds the queue of one leaf however fast it is, in bytes: 32 ms at 1 Gbit/s.
	maxQueue = 4 << 20
	// minQueuePackets keeps a queue long enough for a TCP that has just begun (initial window of RFC 6928).
	minQueuePackets = 10
)

// Tuning says how long a class may burst and queue. The zero value stands for the defaults; each field can be set alone.
type Tuning struct {
	// Burst is how long a class that was idle may send as fast as packets come: 10 ms unless set, at most 1 s. A burst is
	// never less than two packets. It also covers late timers: 10 ms lose nothing while timers are less late than that.
	Burst time.Duration
	// Queue bounds a leaf's queue as a time at its ceiling: 200 ms unless set, at most 10 s. A queue is never bounded to
	// less than ten packets, nor to more than 4 MiB.
	Queue time.Duration
	// Target is the standing delay that CoDel accepts: 5 ms unless set (RFC 8289 section 4.3), at most Interval. At low
	// rates it is raised to the time that one and a half packets take.
	Target time.Duration
	// Interval is CoDel's worst-case round trip: 100 ms unless set (RFC 8289 section 4.2), at most 10 s.
	Interval time.Duration
}

func (t Tuning) withDefaults() Tuning {
	set := func(d *time.Duration, value time.Duration) {
		if *d == 0 {
			*d = value
		}
	}
	set(&t.Burst, 10*time.Millisecond)
	set(&t.Queue, 200*time.Millisecond)
	set(&t.Interval, 100*time.Millisecond)
	set(&t.Target, min(5*time.Millisecond, t.Interval))
	return t
}

func (t Tuning) validate() error {
	var errs []error
	check := func(name string, d, most time.Duration) {
		if d <= 0 || d > most {
			errs = append(errs, fmt.Errorf("%w: %s is %v; choose more than 0 and at most %v", ErrConfig, name, d, most))
		}
	}
	check("Tuning.Burst", t.Burst, time.Second)
	check("Tuning.Queue", t.Queue, 10*time.Second)
	check("Tuning.Interval", t.Interval, 10*time.Second)
	check("Tuning.Target", t.Target, max(t.Interval, 1))
	return errors.Join(errs...)
}

// Params are what an executor gives one class of an HTB.
type Params struct {
	// Rate is what the class may send without borrowing. Only the root has any to speak of: all others borrow.
	Rate Rate
	// Ceil is what the class may send at most; never [Unlimited] but [MaxRate], which an executor takes for no limit.
	Ceil Rate
	// Burst and Cburst are the depths in bytes of the buckets for Rate and Ceil.
	Burst, Cburst int
	// Quantum is how many bytes a class sends before its siblings get their turn, 1,000 to 200,000. It is the same for
	// all, so that siblings share equally what none of them is limited to (max-min fairness).
	Quantum int
	// QueueBytes bounds the queue of a leaf, in bytes; 0 for a class that is no leaf.
	QueueBytes int
	// Target and Interval are CoDel's, for a leaf.
	Target, Interval time.Duration
}

// Planner does the arithmetic of a hierarchy of classes: pure functions from limits to [Params] and [Step]s, which the
// userspace [Scheduler] and a kernel's executor both obey. A Planner never changes and is safe for concurrent use.
type Planner struct {
	mtu    int
	tuning Tuning
}

// NewPlanner returns a planner for packets of at most mtu bytes, 576 to 65,535, or [DefaultMTU] for 0. Errors match
// [ErrConfig].
func NewPlanner(mtu int, tuning Tuning) (*Planner, error) {
	if mtu == 0 {
		mtu = DefaultMTU
	}
	tuning = tuning.withDefaults()
	err := tuning.validate()
	if mtu < minMTU || mtu > maxMTU {
		err = errors.Join(fmt.Errorf("%w: MTU is %d; choose %d to %d bytes", ErrConfig, mtu, minMTU, maxMTU), err)
	}
	if err != nil {
		return nil, err
	}
	return &Planner{mtu: mtu, tuning: tuning}, nil
}

// Root returns the parameters of the root class under a limit.
func (p *Planner) Root(limit Rate) Params {
	params := p.inner(limit)
	params.Rate, params.Burst = params.Ceil, params.Cburst
	return params
}

// Group returns the parameters of a group under a limit.
func (p *Planner) Group(limit Rate) Params { return p.inner(limit) }

// Leaf returns the parameters of a leaf under a limit of its own, its group's (Unlimited without a group) and the root's.
// Its queue is sized for the lowest of them, its ceiling is its own.
func (p *Planner) Leaf(limit, group, root Rate) Params {
	params := p.inner(limit)
	lowest := ceiling(limit.Lower(group).Lower(root))
	params.QueueBytes = p.queueBytes(lowest)
	params.Target, params.Interval = p.codel(p.slot(lowest))
	return params
}

func (p *Planner) inner(limit Rate) Params {
	ceil := ceiling(limit)
	return Params{
		Rate:    assuredRate,
		Ceil:    ceil,
		Burst:   2 * p.mtu,
		Cburst:  int(min(max(int64(2*p.mtu), ceil.Bytes(p.tuning.Burst)), maxBurst)),
		Quantum: min(max(p.mtu, minQuantum), maxQuantum),
	}
}

// ceiling turns a limit into a ceiling that an HTB can hold.
func ceiling(limit Rate) Rate {
	if limit == Unlimited {
		return MaxRate
	}
	return min(limit, MaxRate)
}

// queueBytes never falls as the rate rises, so the bound for the lowest of several rates is the least of their bounds.
func (p *Planner) queueBytes(ceil Rate) int {
	return int(min(max(int64(minQueuePackets*p.mtu), ceil.Bytes(p.tuning.Queue)), max(maxQueue, int64(minQueuePackets*p.mtu))))
}

// slot is how long one and a half packets take: below that, a queue is not standing but a packet on its way out.
func (p *Planner) slot(ceil Rate) time.Duration { return ceil.Duration(int64(p.mtu) * 3 / 2) }

// codel raises target and interval to what a slot allows, the interval by as much as the target and to no less than twice
// it, as CAKE does (net/sched/sch_cake.c, cake_set_rate).
func (p *Planner) codel(slot time.Duration) (target, interval time.Duration) {
	target = max(p.tuning.Target, slot)
	return target, max(p.tuning.Interval+target-p.tuning.Target, 2*target)
}
