package wggo

import (
	"time"

	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/tai64n"
)

// stay is how long a peer has been in a device, and whether it may leave: a peer is idle from when it was heard from last, by
// anything authentic, which alone makes the device count received bytes.
//
//	away --arrive--> quiet --report, more bytes--> heard --idle--> away
//	                   '--woken and unanswered--> away
//
// It is pure: the registry's mutex guards it, and time is the caller's.
type stay struct {
	heard    time.Time // when it was heard from last, or when it came
	received uint64    // bytes, as of the last report
	woken    bool      // it came as the node had something to send, and was not heard from since
}

// arrive begins a stay.
func arrive(now time.Time, woken bool) stay { return stay{heard: now, woken: woken} }

// report notes how many bytes the device has received of the peer.
func (s *stay) report(received uint64, now time.Time) {
	if received != s.received {
		s.received, s.heard, s.woken = received, now, false
	}
}

// knock notes an initiation that is proven to be the peer's.
func (s *stay) knock(now time.Time) { s.heard, s.woken = now, false }

// idle reports whether nothing was heard for so long. Who was woken and does not answer has a part of that time, in which
// WireGuard gives up, too (REKEY_ATTEMPT_TIME is half of REJECT_AFTER_TIME).
func (s *stay) idle(after time.Duration, now time.Time) bool {
	if s.woken {
		after /= wokenShare
	}
	return now.Sub(s.heard) >= after
}

const (
	// defaultIdle is when wireguard-go has no key of a session any more (WireGuard paper, section 6.1: three times
	// REJECT_AFTER_TIME): whoever leaves then loses nothing that it would have had.
	defaultIdle = 3 * device.RejectAfterTime
	// busyShare of the idle time is how long a peer that was heard from is not made to leave for another one. By default that is
	// REJECT_AFTER_TIME: before, it may have a session.
	busyShare  = 3
	wokenShare = 5 // 108 s by default: a handshake is tried for 90 s (REKEY_ATTEMPT_TIME)
	lookIdle   = 8 // how often in an idle time is looked for who may leave
)

// replay keeps initiations of before from being taken again, which it outlives that the peer leaves for: it needs no clock but the
// peer's own.
type replay struct{ last tai64n.Timestamp }

// fresh reports whether a timestamp is later than all before, and keeps it if so.
func (r *replay) fresh(t tai64n.Timestamp) bool {
	if !t.After(r.last) {
		return false
	}
	r.last = t
	return true
}
