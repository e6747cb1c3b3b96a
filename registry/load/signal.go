package load

import (
	"time"

	"github.com/waylume/waylume/registry"
)

// signal is the scaling signal. It changes when what calls for a change has lasted:
//
//	           score >= OutAbove for OutHold
//	steady ------------------------------------> scale_out
//	       <------------------------------------
//	            score < OutBelow for Settle
//
//	           score <= InBelow for InHold
//	steady ------------------------------------> scale_in
//	       <------------------------------------
//	            score > InAbove for Settle
//
// A score of which too little is known calls for steady.
type signal struct {
	Thresholds
	state registry.Scaling
	// wanted is what the last scores call for, for the time held.
	wanted registry.Scaling
	held   time.Duration
}

func newSignal(t Thresholds) signal {
	return signal{Thresholds: t, state: registry.Steady, wanted: registry.Steady}
}

// evidence is what the signal is told of a load.
type evidence struct {
	score float64
	// known: the score is of something. traffic: of something that follows the peers' traffic, too; without that a low score is no
	// reason to do with fewer nodes.
	known, traffic bool
}

// add takes what is so now, and how long ago the time before was. It returns what the signal was.
func (s *signal) add(e evidence, elapsed time.Duration) (before registry.Scaling) {
	before = s.state
	wanted, hold := s.wants(e)
	switch {
	case wanted == s.state:
		s.wanted, s.held = s.state, 0
		return before
	case wanted != s.wanted:
		s.wanted, s.held = wanted, 0
	default:
		// Of a long time that nobody looked, half of the hold time counts at most: it takes three looks at least.
		const looks = 2
		s.held += min(elapsed, hold/looks)
	}
	if s.held >= hold {
		s.state, s.wanted, s.held = wanted, wanted, 0
	}
	return before
}

// wants is what the evidence calls for, as seen from the present state, and for how long it has to.
func (s *signal) wants(e evidence) (registry.Scaling, time.Duration) {
	switch s.state {
	case registry.ScaleOut:
		if !e.known || e.score < s.OutBelow {
			return registry.Steady, s.Settle
		}
	case registry.ScaleIn:
		if !e.traffic || e.score > s.InAbove {
			return registry.Steady, s.Settle
		}
	default:
		if e.known && e.score >= s.OutAbove {
			return registry.ScaleOut, s.OutHold
		}
		if e.traffic && e.score <= s.InBelow {
			return registry.ScaleIn, s.InHold
		}
	}
	return s.state, 0
}
