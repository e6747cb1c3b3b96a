package quota

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// ErrState is matched by errors about the JSON of a [Ledger] that is of an unknown version, damaged, or contradicts itself.
var ErrState = errors.New("quota: bad ledger state")

// stateVersion is that of stateJSON. A version that is not known is not guessed at.
const stateVersion = 1

// stateJSON is a Ledger as it is written.
type stateJSON struct {
	Version int       `json:"version"`
	Cap     plainCap  `json:"cap"`
	Now     time.Time `json:"now"`
	Seen    Counters  `json:"seen"`
	Used    Counters  `json:"used"`
	Extra   uint64    `json:"extra,omitzero"`
	Start   time.Time `json:"start,omitzero"`
	End     time.Time `json:"end,omitzero"`
	Window  window    `json:"window,omitzero"`
	Percent int       `json:"percent,omitzero"`
	Cut     bool      `json:"cut,omitzero"`
	Pending []Event   `json:"pending,omitzero"`
}

// MarshalJSON writes the whole state, with the cap and with events that no Advance has returned yet: at most a few KB,
// without a rolling window a few hundred bytes.
func (l *Ledger) MarshalJSON() ([]byte, error) {
	return json.Marshal(stateJSON{
		Version: stateVersion, Cap: plainCap(l.terms.cap), Now: l.now.time(), Seen: l.seen, Used: l.used, Extra: l.extra,
		Start: l.start.time(), End: l.end.time(), Window: l.window(), Percent: int(l.percent), Cut: l.cut, Pending: l.pending(),
	})
}

// UnmarshalJSON reads what MarshalJSON writes. A state that is not one MarshalJSON could have written is an error that
// matches [ErrState], and the ledger stays as it was. The next call with the time and the counters takes up where the
// state left off, however long ago.
func (l *Ledger) UnmarshalJSON(data []byte) error {
	var v stateJSON
	if err := decodeStrict(data, &v); err != nil {
		return fmt.Errorf("%w: %w", ErrState, err)
	}
	if v.Version != stateVersion {
		return fmt.Errorf("%w: version %d is unknown: this program reads version %d", ErrState, v.Version, stateVersion)
	}
	cal, err := Cap(v.Cap).check()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrState, err)
	}
	if v.Percent < 0 || v.Percent > 100 {
		return fmt.Errorf("%w: %d%% of the cap reached", ErrState, v.Percent)
	}
	read := &Ledger{
		now: momentOf(v.Now), seen: v.Seen, used: v.Used, extra: v.Extra, start: momentOf(v.Start), end: momentOf(v.End),
		percent: int8(v.Percent), cut: v.Cut,
	}
	read.keep(v.Window, v.Pending)
	read.adopt(Cap(v.Cap), cal)
	if err := read.verify(); err != nil {
		return fmt.Errorf("%w: %w", ErrState, err)
	}
	*l = *read
	return nil
}

// verify checks what every ledger keeps to between two calls.
func (l *Ledger) verify() error {
	if now := l.now.time(); !now.Equal(sane(now)) {
		return fmt.Errorf("time %v is out of range", now)
	}
	if err := l.verifyPeriod(); err != nil {
		return err
	}
	if l.extra > uint64(MaxBytes) {
		return fmt.Errorf("topped up by %d bytes, more than %v", l.extra, MaxBytes)
	}
	if l.cut && (l.terms.cap.Bytes == 0 || l.terms.cap.AtEnd != Block) {
		return errors.New("cut off by a cap that does not block")
	}
	if reached := l.reached(); int(l.percent) != reached {
		return fmt.Errorf("%d%% of the cap reached, but %d%% used", l.percent, reached)
	}
	pending := l.pending()
	if len(pending) > maxPending {
		return fmt.Errorf("%d events pending, more than %d", len(pending), maxPending)
	}
	for i, e := range pending {
		if !eventKindNames.valid(e.Kind) || e.Percent < 0 || e.Percent > 100 || e.Periods < 0 {
			return fmt.Errorf("pending event %d is none", i)
		}
	}
	return nil
}

func (l *Ledger) verifyPeriod() error {
	// The longest month, with a zone that changes to the other side of the date line and back.
	const longest = 34 * 24 * time.Hour
	kind := l.terms.cap.Period.Kind
	now, start, end := l.now.time(), l.start.time(), l.end.time()
	if kind != Rolling && len(l.window()) > 0 {
		return fmt.Errorf("a window, but a period of kind %v", kind)
	}
	switch kind {
	case Rolling:
		if !start.IsZero() || !end.IsZero() {
			return errors.New("a rolling window has no beginning and no end")
		}
		return l.verifyWindow()
	case None:
		if !end.IsZero() || start.Before(earliest) || start.After(now) {
			return fmt.Errorf("period from %v to %v: it must begin by %v and not end", start, end, now)
		}
	default:
		if start.After(now) || !end.After(now) || end.Sub(start) > longest {
			return fmt.Errorf("period from %v to %v: it must hold %v and last no longer than %v", start, end, now, longest)
		}
	}
	return nil
}

func (l *Ledger) verifyWindow() error {
	s := l.step()
	now, window := l.now.time(), l.window()
	last := s.of(now)
	for i, b := range window {
		switch {
		case s.gone(b.Step, now) || b.Step > last:
			return fmt.Errorf("step %d is not in the window", b.Step)
		case i > 0 && b.Step <= window[i-1].Step:
			return fmt.Errorf("step %d is out of order", b.Step)
		case b == bucket{Step: b.Step}:
			return fmt.Errorf("step %d is empty", b.Step)
		}
	}
	if used, extra := window.sum(); used != l.used || extra != l.extra {
		return fmt.Errorf("the window adds up to %v and %d, not to %v and %d", used, extra, l.used, l.extra)
	}
	return nil
}
