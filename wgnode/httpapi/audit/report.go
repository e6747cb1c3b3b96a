package audit

import (
	"fmt"
	"time"
)

// maxFindings is how many findings and notes a report names.
const maxFindings = 100

// Finding is something that is not as it was written.
type Finding struct {
	// Segment is the name of the file; empty: it is of the log as a whole.
	Segment string `json:"segment,omitempty"`
	// Line is where in the file, from 1; 0: it is of the whole.
	Line int    `json:"line,omitempty"`
	What string `json:"what"`
}

// String is one line for a person.
func (f Finding) String() string {
	switch {
	case f.Segment == "":
		return f.What
	case f.Line == 0:
		return f.Segment + ": " + f.What
	}
	return fmt.Sprintf("%s: line %d %s", f.Segment, f.Line, f.What)
}

// Unknown is a change of which the log does not say what became of it: the process was killed meanwhile, or it is under way.
type Unknown struct {
	Sequence  uint64    `json:"sequence"`
	Time      time.Time `json:"time"`
	Operation string    `json:"operation,omitempty"`
	// UnderWay: the log has not been opened or closed since, so that the change may be going on.
	UnderWay bool `json:"under_way,omitempty"`
}

// Report is what [Verify] found.
type Report struct {
	Segments int `json:"segments"`
	Records  int `json:"records"`
	// First is the number of the first record, and Head the last one.
	First uint64 `json:"first"`
	Head  Head   `json:"head"`
	// From and To are the times of the first record and the last.
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
	// Keyed is how many of the segments have hashes of a key.
	Keyed int `json:"keyed"`
	// Torn is how many bytes of a line follow the last whole one: a kill has left them, or the line is being written.
	Torn int64 `json:"torn,omitempty"`
	// Unknown are changes without a result, the earliest first.
	Unknown []Unknown `json:"unknown,omitempty"`
	// Findings are what is not as it was written, at most 100; Omitted counts the others.
	Findings []Finding `json:"findings,omitempty"`
	Omitted  int       `json:"omitted,omitempty"`
	// Notes are what could not be checked, and what was found when the log was opened, at most 100.
	Notes []string `json:"notes,omitempty"`
}

// Sound reports whether all is as it was written, as far as that can be found: see the package's documentation.
func (r *Report) Sound() bool { return len(r.Findings) == 0 }

func (r *Report) note(format string, args ...any) {
	if len(r.Notes) < maxFindings {
		r.Notes = append(r.Notes, fmt.Sprintf(format, args...))
	}
}

func (r *Report) find(f Finding) {
	if len(r.Findings) == maxFindings {
		r.Omitted++
		return
	}
	r.Findings = append(r.Findings, f)
}
