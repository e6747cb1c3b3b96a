package usagelog

import (
	"cmp"
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"
)

// Kind is what a subject is.
type Kind uint8

// Kinds of subjects.
const (
	Peer Kind = iota + 1
	Account
)

// String is "peer" or "account".
func (k Kind) String() string {
	switch k {
	case Peer:
		return "peer"
	case Account:
		return "account"
	default:
		return "Kind(" + strconv.Itoa(int(k)) + ")"
	}
}

// MaxNameLen is the length of the longest name, in bytes.
const MaxNameLen = 255

// Subject is whose usage is read.
type Subject struct {
	Kind Kind
	// Name is a peer's public key or an account's ID, as text: 1 to MaxNameLen bytes of UTF-8.
	Name string
	// Sequence is the number that the node gave the subject when it was added. Numbers grow and are never used again, also
	// not for a subject of the other kind.
	Sequence uint64
}

// String is "peer NAME (SEQUENCE)".
func (s Subject) String() string {
	return fmt.Sprintf("%v %s (%d)", s.Kind, s.Name, s.Sequence)
}

func (s Subject) validate() error {
	switch {
	case s.Kind != Peer && s.Kind != Account:
		return fmt.Errorf("%w: kind %d of a subject: use Peer or Account", ErrInvalid, s.Kind)
	case s.Name == "" || len(s.Name) > MaxNameLen:
		return fmt.Errorf("%w: a subject's name of %d bytes: use 1 to %d", ErrInvalid, len(s.Name), MaxNameLen)
	case !utf8.ValidString(s.Name):
		return fmt.Errorf("%w: name %q of a subject is not UTF-8", ErrInvalid, s.Name)
	case s.Sequence >= unknown:
		return fmt.Errorf("%w: sequence %d of a subject is out of range", ErrInvalid, s.Sequence)
	}
	return nil
}

func compareSubjects(a, b Subject) int {
	return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Sequence, b.Sequence))
}

// Counters are inner IP bytes, each direction apart; download is towards the peer.
type Counters struct {
	Download, Upload uint64
}

// Add returns the sums.
func (c Counters) Add(d Counters) Counters {
	return Counters{c.Download + d.Download, c.Upload + d.Upload}
}

// highest is the higher of each.
func (c Counters) highest(d Counters) Counters {
	return Counters{max(c.Download, d.Download), max(c.Upload, d.Upload)}
}

// above is what c has more than d, which nowhere has more.
func (c Counters) above(d Counters) Counters {
	return Counters{c.Download - d.Download, c.Upload - d.Upload}
}

// Reading is what a subject's counters were.
type Reading struct {
	Subject Subject
	// Counters are bytes since the subject was added.
	Counters Counters
}

// Times that a frame can have, in nanoseconds since 1970: up to the year 2200.
const maxTime = int64(230 * 365.25 * float64(day))

const day = 24 * time.Hour

// instant returns a frame's time.
func instant(at time.Time) (int64, error) {
	if at.Before(time.Unix(0, 0)) || at.After(time.Unix(0, maxTime)) {
		return 0, fmt.Errorf("%w: %v is not from 1970 to 2199: set the clock", ErrInvalid, at.UTC().Format(time.RFC3339))
	}
	return at.UnixNano(), nil
}

// bound returns a bound of a question; beyond the times that frames can have, one is like another.
func bound(at time.Time) int64 {
	switch {
	case at.Before(time.Unix(0, 0)):
		return -1
	case at.After(time.Unix(0, maxTime)):
		return maxTime
	default:
		return at.UnixNano()
	}
}
