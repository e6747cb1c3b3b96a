package quota

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
)

// Cap is how much data a subject may move in a period, and what happens then. The zero Cap is none: it limits
// nothing. As JSON it is an object with the fields' names in snake case, amounts and enumerations as text; reading it
// refuses unknown fields and whatever Validate refuses.
type Cap struct {
	// Bytes may be moved per period, at most [MaxBytes]; 0 is no cap, and the period then only says what [Usage] covers.
	Bytes Bytes `json:"bytes,omitzero"`
	// Counted says which directions count.
	Counted Counted `json:"counted,omitzero"`
	// Period is the time after which usage begins anew.
	Period Period `json:"period,omitzero"`
	// AtEnd is what happens when Bytes are used up.
	AtEnd Action `json:"at_end,omitzero"`
	// ThrottleDownload is the speed towards the peer that AtEnd Throttle falls to, in bit/s; 0 leaves it as it is. This
	// package only carries it.
	ThrottleDownload uint64 `json:"throttle_download,omitzero"`
	// ThrottleUpload is the speed from the peer, like ThrottleDownload.
	ThrottleUpload uint64 `json:"throttle_upload,omitzero"`
	// Thresholds are percentages of Bytes, 1 to 100, each at most once, whose reaching is an event. Nil means 80 and 100;
	// empty but not nil means none. That Bytes are used up is an event of its own, whether 100 is among them or not.
	Thresholds []int `json:"thresholds,omitzero"`
}

// ErrCap is matched by every [CapError].
var ErrCap = errors.New("bad data cap")

// CapError is one problem of a [Cap]. [Cap.Validate] returns all that there are, joined. It matches [ErrCap].
type CapError struct {
	// Field is the path of the field in Cap, such as "Period.Hour" or "Thresholds[2]".
	Field string
	// Value is the offending value as text.
	Value string
	// Problem says what is wrong and how to mend it.
	Problem string
}

// Error names the field, the value and the problem.
func (e *CapError) Error() string {
	return fmt.Sprintf("quota: %s: %s %s", e.Field, e.Value, e.Problem)
}

// Unwrap returns [ErrCap].
func (e *CapError) Unwrap() error { return ErrCap }

// Validate returns an error for each problem, joined; each is a [*CapError]. A time zone is looked for where
// [time.LoadLocation] looks.
func (c Cap) Validate() error {
	_, err := c.check()
	return err
}

// check is Validate, and returns the calendar that the check needed.
func (c Cap) check() (calendar, error) {
	var p capProblems
	if c.Bytes > MaxBytes {
		p.add("Bytes", c.Bytes, "is too much: at most %v", MaxBytes)
	}
	if !countedNames.valid(c.Counted) {
		p.add("Counted", int(c.Counted), "is unknown: use CountBoth, CountDownload or CountUpload")
	}
	if !actionNames.valid(c.AtEnd) {
		p.add("AtEnd", int(c.AtEnd), "is unknown: use Block or Throttle")
	}
	if c.AtEnd == Block && c.ThrottleDownload != 0 {
		p.add("ThrottleDownload", c.ThrottleDownload, "has no effect: set AtEnd to Throttle, or leave the speed 0")
	}
	if c.AtEnd == Block && c.ThrottleUpload != 0 {
		p.add("ThrottleUpload", c.ThrottleUpload, "has no effect: set AtEnd to Throttle, or leave the speed 0")
	}
	if c.AtEnd == Throttle && c.ThrottleDownload == 0 && c.ThrottleUpload == 0 {
		p.add("AtEnd", c.AtEnd, "needs a speed: set ThrottleDownload, ThrottleUpload or both")
	}
	p.thresholds(c.Thresholds)
	cal := p.period(c.Period)
	return cal, errors.Join(p...)
}

// capProblems gathers what is wrong with a cap.
type capProblems []error

func (p *capProblems) add(field string, value any, problem string, args ...any) {
	*p = append(*p, &CapError{Field: field, Value: fmt.Sprint(value), Problem: fmt.Sprintf(problem, args...)})
}

func (p *capProblems) thresholds(percents []int) {
	// More than one of each is one too many anyway; a stranger's list of millions is not worth millions of errors.
	if len(percents) > 100 {
		p.add("Thresholds", strconv.Itoa(len(percents))+" values", "are too many: each percentage may stand once")
		return
	}
	var seen [101]bool
	for i, percent := range percents {
		field := fmt.Sprintf("Thresholds[%d]", i)
		switch {
		case percent < 1 || percent > 100:
			p.add(field, percent, "is no percentage of the cap: use 1 to 100")
		case seen[percent]:
			p.add(field, percent, "stands there twice: leave one out")
		default:
			seen[percent] = true
		}
	}
}

// effectiveThresholds are the thresholds in ascending order.
func (c Cap) effectiveThresholds() []int {
	if c.Thresholds == nil {
		return []int{80, 100}
	}
	return slices.Sorted(slices.Values(c.Thresholds))
}

// Clone returns a copy that shares nothing with c.
func (c Cap) Clone() Cap {
	c.Thresholds = slices.Clone(c.Thresholds)
	return c
}

// Equal reports whether two caps ask for the same: thresholds in another order, and defaults that are spelled out, make
// no difference.
func (c Cap) Equal(d Cap) bool {
	return c.Bytes == d.Bytes && c.Counted == d.Counted && c.Period.Equal(d.Period) && c.AtEnd == d.AtEnd &&
		c.ThrottleDownload == d.ThrottleDownload && c.ThrottleUpload == d.ThrottleUpload &&
		slices.Equal(c.effectiveThresholds(), d.effectiveThresholds())
}

// plainCap is a Cap whose JSON is not checked.
type plainCap Cap

// UnmarshalJSON reads what encoding/json writes of a Cap. On an error c stays as it was.
func (c *Cap) UnmarshalJSON(data []byte) error {
	if string(data) == "null" {
		return nil
	}
	var v plainCap
	if err := decodeStrict(data, &v); err != nil {
		return fmt.Errorf("quota: read data cap: %w", err)
	}
	if err := Cap(v).Validate(); err != nil {
		return fmt.Errorf("quota: read data cap: %w", err)
	}
	*c = Cap(v)
	return nil
}

// decodeStrict reads one JSON value and refuses fields that v does not have.
func decodeStrict(data []byte, v any) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	return dec.Decode(v)
}
