package path

import (
	"sync/atomic"

	"github.com/waylume/waylume/isolation"
)

// drop is a reason of the path itself for not passing a packet on; the filter has reasons of its own.
type drop int

const (
	dropMalformed drop = iota
	dropNoPeer
	dropCap
	numDrops
)

func (d drop) String() string {
	return [...]string{dropMalformed: "malformed", dropNoPeer: "no peer", dropCap: "data cap"}[d]
}

// drops counts packets that did not pass, by reason.
type drops struct {
	own     [numDrops]atomic.Uint64
	reasons [isolation.NumReasons]atomic.Uint64
}

func (d *drops) add(reason drop) { d.own[reason].Add(1) }

func (d *drops) addReason(reason isolation.Reason) { d.reasons[reason].Add(1) }

// totals returns the counters that are not zero.
func (d *drops) totals() map[string]uint64 {
	totals := make(map[string]uint64)
	for i := range d.own {
		if n := d.own[i].Load(); n > 0 {
			totals[drop(i).String()] += n
		}
	}
	for i := range d.reasons {
		if n := d.reasons[i].Load(); n > 0 {
			totals[isolation.Reason(i).String()] += n
		}
	}
	return totals
}
