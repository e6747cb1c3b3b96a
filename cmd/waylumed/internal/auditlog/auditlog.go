// Package auditlog shows an audit log, and what was found in one, to a person or as JSON. It starts nothing and changes nothing.
package auditlog

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/waylume/waylume/wgnode/httpapi/audit"
)

// Verdict is a report as JSON.
type Verdict struct {
	Sound bool `json:"sound"`
	audit.Report
}

// WriteReport says what was found.
func WriteReport(w io.Writer, r audit.Report) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%d records in %d segments", r.Records, r.Segments)
	if r.Records > 0 {
		fmt.Fprintf(&b, ", %s to %s", r.From.Format(time.RFC3339), r.To.Format(time.RFC3339))
	}
	if r.Keyed > 0 {
		fmt.Fprintf(&b, "; %d segments with a key", r.Keyed)
	}
	b.WriteString("\n")
	for _, f := range r.Findings {
		fmt.Fprintf(&b, "Damaged: %s\n", clean(f.String()))
	}
	if r.Omitted > 0 {
		fmt.Fprintf(&b, "Damaged: %d times more\n", r.Omitted)
	}
	for _, u := range r.Unknown {
		what := "outcome unknown"
		if u.UnderWay {
			what = "under way, or outcome unknown"
		}
		fmt.Fprintf(&b, "Record %d, %s, %s: %s\n", u.Sequence, u.Time.Format(time.RFC3339), clean(u.Operation), what)
	}
	if r.Torn > 0 {
		fmt.Fprintf(&b, "The last line has no end (%d bytes): it is being written, or a kill has left it, "+
			"and the next start takes it away\n", r.Torn)
	}
	for _, n := range r.Notes {
		fmt.Fprintf(&b, "Note: %s\n", clean(n))
	}
	if r.Sound() {
		fmt.Fprintf(&b, "The log is as it was written. Its head is %s\n", r.Head)
	} else {
		b.WriteString("The log is NOT as it was written. Keep a copy of it, and find out who can write to its directory\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// Write shows the log at a path from a time on: a line for each change, and those without a result at the end.
func Write(w io.Writer, path string, from time.Time) error {
	intents := make(map[uint64]audit.Record)
	err := audit.Read(path, func(r audit.Record) error {
		switch r.Kind {
		case audit.KindIntent:
			intents[r.Sequence] = r
			return nil
		case audit.KindResult:
			intent := intents[r.Of]
			delete(intents, r.Of)
			r = join(intent, r)
		}
		if r.Time.Before(from) {
			return nil
		}
		_, err := io.WriteString(w, line(r)+"\n")
		return err
	})
	for _, n := range slices.Sorted(maps.Keys(intents)) {
		r := intents[n]
		if r.Time.Before(from) {
			continue
		}
		r.Outcome = "unknown"
		if _, bad := io.WriteString(w, line(r)+"\n"); bad != nil {
			return bad
		}
	}
	return err
}

// join puts what an intent says into its result.
func join(intent, result audit.Record) audit.Record {
	result.Operation = cmp.Or(result.Operation, intent.Operation)
	result.Principal, result.Source, result.RequestID = intent.Principal, intent.Source, intent.RequestID
	for _, s := range intent.Subjects {
		if !slices.Contains(result.Subjects, s) {
			result.Subjects = append(result.Subjects, s)
		}
	}
	details := maps.Clone(intent.Details)
	if details == nil {
		details = make(map[string]string)
	}
	maps.Copy(details, result.Details)
	result.Details = details
	return result
}

// line is a record for a person.
func line(r audit.Record) string {
	words := []string{r.Time.Format(time.RFC3339)}
	say := func(format string, args ...any) { words = append(words, clean(fmt.Sprintf(format, args...))) }
	if r.Outcome != "" {
		say("%-7s", r.Outcome)
	} else {
		say("%-7s", r.Kind)
	}
	if r.Status != 0 {
		say("%d", r.Status)
	}
	if r.Operation != "" {
		say("%s", r.Operation)
	}
	for _, s := range r.Subjects {
		say("%s=%q", s.Kind, s.ID)
	}
	if r.SubjectsOmitted > 0 {
		say("and %d more", r.SubjectsOmitted)
	}
	for _, name := range slices.Sorted(maps.Keys(r.Details)) {
		say("%s=%q", name, r.Details[name])
	}
	if p := r.Principal; p != nil {
		say("by %q (%s)", p.Name, strings.TrimSpace(p.Method+" "+p.KeyID))
	}
	if r.Source != "" {
		say("from %s", r.Source)
	}
	if r.RequestID != "" {
		say("request %s", r.RequestID)
	}
	if r.Problem != "" {
		say("%s", r.Problem)
	}
	if r.Kind == audit.KindRefusals {
		say("%d requests were refused: %v", r.Count, r.Statuses)
	}
	if r.Kind == audit.KindRetired {
		say("segments to %d were deleted for their age", r.Through)
	}
	for _, f := range r.Found {
		say("found: %s", f)
	}
	return strings.Join(words, "  ")
}

// clean keeps what came from outside from steering a terminal.
func clean(text string) string {
	return strings.Map(func(c rune) rune {
		if unicode.IsPrint(c) {
			return c
		}
		return unicode.ReplacementChar
	}, text)
}

// WriteJSON shows the records of the log at a path from a time on as lines of JSON.
func WriteJSON(w io.Writer, path string, from time.Time) error {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	return audit.Read(path, func(r audit.Record) error {
		if r.Time.Before(from) {
			return nil
		}
		return encoder.Encode(struct {
			audit.Record
			Hash string `json:"hash"`
		}{r, r.Hash})
	})
}
