package usage

import (
	"time"

	"github.com/waylume/waylume/usagelog"
)

// Schema names the form of a Report as JSON. Fields may be added to it; none is renamed, removed or given another meaning
// under this name.
const Schema = "waylume.usage/1"

// Report is what was used.
type Report struct {
	Schema string    `json:"schema"`
	From   time.Time `json:"from"`
	To     time.Time `json:"to"`
	// Covers is the time that is really known of; null: none.
	Covers *Span  `json:"covers"`
	Steps  []Step `json:"steps"`
	// Damage is what could not be read of the log, in words. What it held counts later.
	Damage []string `json:"damage"`
}

// Span is from one reading of all counters to another.
type Span struct {
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
}

// Step is one part of the time.
type Step struct {
	From   time.Time `json:"from"`
	To     time.Time `json:"to"`
	Covers *Span     `json:"covers"`
	// Usages are those who used anything.
	Usages []Usage `json:"usages"`
}

// Usage is what one subject used.
type Usage struct {
	// Kind is "peer" or "account", Name a public key or an ID, Sequence the number that the node gave the subject.
	Kind          string `json:"kind"`
	Name          string `json:"name"`
	Sequence      uint64 `json:"sequence"`
	DownloadBytes uint64 `json:"download_bytes"`
	UploadBytes   uint64 `json:"upload_bytes"`
}

func newStep(from, to time.Time) Step { return Step{From: from, To: to, Usages: []Usage{}} }

// cover notes that a subject's usage covers a time.
func (s *Step) cover(span *Span) {
	if s.Covers == nil || span != nil && span.From.Before(s.Covers.From) {
		s.Covers = span
	}
}

func spanOf(s usagelog.Span) *Span {
	if !s.From.Before(s.To) {
		return nil
	}
	return &Span{s.From, s.To}
}

func usageOf(s usagelog.Subject, c usagelog.Counters) Usage {
	return Usage{s.Kind.String(), s.Name, s.Sequence, c.Download, c.Upload}
}
