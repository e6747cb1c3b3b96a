package ask

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/waylume/waylume/cmd/waylumed/internal/words"
	api "github.com/waylume/waylume/wgnode/httpapi/v1"
)

// Words reads what a person writes, and gathers what is wrong with it.
type Words struct{ problems []string }

// Wrong notes what is wrong with a flag or an argument.
func (w *Words) Wrong(what, format string, args ...any) {
	w.problems = append(w.problems, what+": "+fmt.Sprintf(format, args...))
}

// Err names all that is wrong; nil: nothing.
func (w *Words) Err() error {
	switch len(w.problems) {
	case 0:
		return nil
	case 1:
		return errors.New(w.problems[0])
	}
	return fmt.Errorf("%d things are wrong:\n  %s", len(w.problems), strings.Join(w.problems, "\n  "))
}

// Rate reads a speed limit; "none" and "unlimited" are 0.
func (w *Words) Rate(what, text string) api.Rate {
	if text == words.None {
		return 0
	}
	rate, err := words.Rate(text)
	if err != nil {
		w.Wrong(what, "%v", err)
	}
	return api.Rate(rate)
}

// Amount reads an amount of data; "none" is 0.
func (w *Words) Amount(what, text string) api.Bytes {
	amount, err := words.Amount(text)
	if err != nil {
		w.Wrong(what, "%v", err)
	}
	return api.Bytes(amount)
}

// Duration reads a length of time; "none" is 0.
func (w *Words) Duration(what, text string) api.Duration {
	if text == words.None {
		return 0
	}
	d, err := words.Duration(text)
	if err == nil && d < 0 {
		err = fmt.Errorf("%q is negative: give one as 15m, 24h or 90d", text)
	}
	if err != nil {
		w.Wrong(what, "%v", err)
	}
	return api.Duration(d)
}

// Time reads when something ends: a time with its zone, a date, which is its midnight in UTC, or a length of time from now.
// "never" is the zero time.
func (w *Words) Time(what, text string, now time.Time) time.Time {
	if text == "never" {
		return time.Time{}
	}
	if at, err := time.Parse(time.DateOnly, text); err == nil {
		return at
	}
	if at, err := time.Parse(time.RFC3339, text); err == nil {
		return at
	}
	d, err := words.Duration(text)
	if err != nil || d <= 0 {
		w.Wrong(what, "%q is not a time: give one as 2026-12-31T12:00:00+01:00, a date, 24h or 30d from now, or never", text)
	}
	return now.Add(d).Truncate(time.Second)
}

// Labels reads labels, each as name=value.
func (w *Words) Labels(what string, texts []string) map[string]string {
	var labels map[string]string
	for _, text := range texts {
		name, value, ok := strings.Cut(text, "=")
		if !ok || name == "" {
			w.Wrong(what, "%q is not a label: give one as plan=pro", text)
			continue
		}
		if labels == nil {
			labels = map[string]string{}
		}
		labels[name] = value
	}
	return labels
}

// Periods are those of a data cap; another one rolls, and is a duration.
func Periods() []string { return []string{"none", "daily", "weekly", "monthly"} }

// Period reads the period of a data cap.
func (w *Words) Period(what, text string) api.Period {
	if slices.Contains(Periods(), text) {
		return api.Period{Kind: text}
	}
	d, err := words.Duration(text)
	if err != nil || d < time.Minute || d%time.Minute != 0 {
		w.Wrong(what, "%q is not a period: give %s, or whole minutes for one that rolls, as 24h or 30d", text,
			strings.Join(Periods(), ", "))
	}
	return api.Period{Kind: "rolling", Window: api.Duration(d)}
}
