package ask

import (
	"slices"

	"github.com/waylume/waylume/cmd/waylumed/internal/words"
	api "github.com/waylume/waylume/wgnode/httpapi/v1"
)

// OrNull is a member with a value, or one that takes away what is there.
func OrNull[T comparable](value T) api.Field[T] {
	var none T
	if value == none {
		return api.Null[T]()
	}
	return api.Set(value)
}

// LimitWords are the words of a command line about a speed limit. What is empty was not given.
type LimitWords struct{ Both, Download, Upload string }

// Limit reads a limit, in which what was not given is none.
func (l LimitWords) Limit(w *Words) api.SpeedLimit {
	var limit api.SpeedLimit
	for _, d := range l.directions(w) {
		switch {
		case d.text == "":
		case d.upload:
			limit.Upload = w.Rate(d.what, d.text)
		default:
			limit.Download = w.Rate(d.what, d.text)
		}
	}
	return limit
}

// Patch reads a change, in which what was not given stays.
func (l LimitWords) Patch() (api.Field[api.SpeedLimitPatch], error) {
	var w Words
	var patch api.SpeedLimitPatch
	given := false
	for _, d := range l.directions(&w) {
		if d.text == "" {
			continue
		}
		given = true
		if rate := OrNull(w.Rate(d.what, d.text)); d.upload {
			patch.Upload = rate
		} else {
			patch.Download = rate
		}
	}
	if !given {
		w.Wrong("RATE", "is not given: give it, as 20mbit or none, or --download or --upload")
	}
	return api.Set(patch), w.Err()
}

type direction struct {
	what, text string
	upload     bool
}

func (l LimitWords) directions(w *Words) []direction {
	if l.Both != "" && (l.Download != "" || l.Upload != "") {
		w.Wrong("--download and --upload", "are given beside a rate for both: give that, or these")
	}
	if l.Both != "" {
		return []direction{{"the rate", l.Both, false}, {"the rate", l.Both, true}}
	}
	return []direction{{"--download", l.Download, false}, {"--upload", l.Upload, true}}
}

// CapWords are the words of a command line about a data cap. What is empty was not given.
type CapWords struct{ Amount, Period, TimeZone, Counted, AtEnd, Throttle string }

// check notes what is wrong with words that depend on each other or have few values.
func (c *CapWords) check(w *Words) {
	if c.Counted != "" && !slices.Contains([]string{"both", "download", "upload"}, c.Counted) {
		w.Wrong("--counted", "%q is not it: give both, download or upload", c.Counted)
	}
	switch {
	case c.AtEnd != "" && c.AtEnd != "block" && c.AtEnd != "throttle":
		w.Wrong("--at-end", "%q is not it: give block or throttle", c.AtEnd)
	case c.AtEnd == "block" && c.Throttle != "":
		w.Wrong("--throttle", "is given beside --at-end block: give one of them")
	case c.AtEnd == "throttle" && c.Throttle == "":
		w.Wrong("--at-end", "throttle needs a rate: give it with --throttle")
	}
}

// none reports that no flag says anything but the amount.
func (c *CapWords) none() bool {
	return c.Period == "" && c.TimeZone == "" && c.Counted == "" && c.AtEnd == "" && c.Throttle == ""
}

// Cap reads a cap; nil: none.
func (c *CapWords) Cap(w *Words) *api.DataCap {
	c.check(w)
	if c.Amount == "" || c.Amount == words.None {
		if !c.none() {
			w.Wrong("--cap", "is not given, and other flags are about a data cap: give its amount, as 100GiB")
		}
		return nil
	}
	dataCap := &api.DataCap{Bytes: w.Amount("--cap", c.Amount), Counted: c.Counted, AtEnd: c.AtEnd}
	if c.Period != "" {
		dataCap.Period = w.Period("--period", c.Period)
	}
	dataCap.Period.TimeZone = c.TimeZone
	if c.Throttle != "" {
		rate := w.Rate("--throttle", c.Throttle)
		dataCap.AtEnd, dataCap.ThrottleDownload, dataCap.ThrottleUpload = "throttle", rate, rate
	}
	return dataCap
}

// Patch reads a change, in which what was not given stays.
func (c *CapWords) Patch() (api.Field[api.DataCapPatch], error) {
	var w Words
	c.check(&w)
	switch {
	case c.Amount == words.None && !c.none():
		w.Wrong("AMOUNT", "is none, and flags are about a data cap: leave them out, or give an amount")
	case c.Amount == words.None:
		return api.Null[api.DataCapPatch](), w.Err()
	case c.Amount == "" && c.none():
		w.Wrong("AMOUNT", "is not given: give it, as 100GiB or none, or flags")
	}
	var patch api.DataCapPatch
	if c.Amount != "" {
		patch.Bytes = api.Set(w.Amount("AMOUNT", c.Amount))
	}
	if c.Counted != "" {
		patch.Counted = api.Set(c.Counted)
	}
	if c.Period != "" || c.TimeZone != "" {
		patch.Period = api.Set(c.period(&w))
	}
	switch {
	case c.Throttle != "":
		rate := w.Rate("--throttle", c.Throttle)
		patch.AtEnd, patch.ThrottleDownload, patch.ThrottleUpload = api.Set("throttle"), api.Set(rate), api.Set(rate)
	case c.AtEnd == "block":
		patch.AtEnd, patch.ThrottleDownload, patch.ThrottleUpload = api.Set("block"), api.Null[api.Rate](), api.Null[api.Rate]()
	}
	return api.Set(patch), w.Err()
}

// period changes a period, and takes away what one of another kind has no use for.
func (c *CapWords) period(w *Words) (patch api.PeriodPatch) {
	if c.TimeZone != "" {
		patch.TimeZone = api.Set(c.TimeZone)
	}
	if c.Period == "" {
		return patch
	}
	period := w.Period("--period", c.Period)
	patch.Kind, patch.Window = api.Set(period.Kind), OrNull(period.Window)
	if period.Kind != "weekly" {
		patch.Weekday = api.Null[string]()
	}
	if period.Kind != "monthly" {
		patch.Day = api.Null[int]()
	}
	if period.Kind == "none" || period.Kind == "rolling" {
		patch.Hour = api.Null[int]()
		if c.TimeZone == "" {
			patch.TimeZone = api.Null[string]()
		}
	}
	return patch
}
