package audit

import (
	"encoding/json"
	"strings"
	"time"
	"unicode/utf8"
)

// Schema names the form of the log. Under it no field is renamed or removed.
const Schema = "waylume.audit/1"

// Bounds of a record. What is longer is cut off, and ends with "…".
const (
	// MaxText is the length of a text in bytes.
	MaxText = 512
	// MaxSubjects is how many subjects a record names; Record.SubjectsOmitted counts the others.
	MaxSubjects = 1024
	// MaxDetails is how many details a record has; others are left out.
	MaxDetails = 32
)

// Kind says what a record is.
type Kind string

// The kinds of records.
const (
	KindSegment  Kind = "segment"  // a file of the log begins
	KindOpen     Kind = "open"     // a process has opened the log
	KindClose    Kind = "close"    // it has closed it: no change was under way
	KindIntent   Kind = "intent"   // a change is about to be made
	KindResult   Kind = "result"   // what became of it
	KindEvent    Kind = "event"    // something that has happened already
	KindRefusal  Kind = "refusal"  // a request that was refused before it could change anything
	KindRefusals Kind = "refusals" // a number of such requests that have no record each
	KindRetired  Kind = "retired"  // segments were deleted for their age
)

// Outcome says what became of a change.
type Outcome string

// The outcomes of changes. An intent without a result has none: it is unknown.
const (
	Done    Outcome = "done"    // it was made
	Refused Outcome = "refused" // it was not made, by the fault of who asked: status 4xx
	Failed  Outcome = "failed"  // it was not made, or not all of it, by the fault of the node: status 5xx, a panic
)

// Principal is who asked.
type Principal struct {
	Name   string `json:"name"`
	Method string `json:"method,omitempty"`
	KeyID  string `json:"key_id,omitempty"`
}

// Subject is what a change is of: {"peer", its public key}, {"account", its ID}, {"node", "policy"}.
type Subject struct {
	Kind string `json:"kind"`
	ID   string `json:"id"`
}

// Record is a line of the log. Fields that its kind does not have are zero, and left out.
type Record struct {
	Sequence uint64    `json:"seq"`
	Time     time.Time `json:"time"`
	Kind     Kind      `json:"kind"`
	// Of is the sequence number of the intent whose result this is.
	Of uint64 `json:"of,omitempty"`
	// Operation is the method and the route of a request, as "POST /api/v1/peers", or a word for what is none: "reload".
	Operation string     `json:"operation,omitempty"`
	Path      string     `json:"path,omitempty"`
	Principal *Principal `json:"principal,omitempty"`
	// Source is the address that the request came from, as Options.Source has it.
	Source          string            `json:"source,omitempty"`
	RequestID       string            `json:"request_id,omitempty"`
	Subjects        []Subject         `json:"subjects,omitempty"`
	SubjectsOmitted int               `json:"subjects_omitted,omitempty"`
	Details         map[string]string `json:"details,omitempty"`
	Outcome         Outcome           `json:"outcome,omitempty"`
	// Status is that of the answer, and Problem its type, if it is a problem.
	Status  int    `json:"status,omitempty"`
	Problem string `json:"problem,omitempty"`
	// Count is how many requests were refused since From, and Statuses how many with which status.
	Count    uint64            `json:"count,omitempty"`
	From     *time.Time        `json:"from,omitempty"`
	Statuses map[string]uint64 `json:"statuses,omitempty"`
	// Segment is what the first line of a file says of it.
	Segment *SegmentInfo `json:"segment,omitempty"`
	// Through is the number of the last segment that was deleted for its age, and LastHash the hash of its last line.
	Through  uint64 `json:"through,omitempty"`
	LastHash string `json:"last_hash,omitempty"`
	// Found is what was found wrong with the log when it was opened.
	Found []string `json:"found,omitempty"`
	// Process is the number of the process that has opened the log.
	Process int `json:"process,omitempty"`

	Previous string `json:"prev"`
	// Hash is not among what it is made of.
	Hash string `json:"-"`
}

// SegmentInfo is what the first line of a segment says of it.
type SegmentInfo struct {
	Schema string `json:"schema"`
	Index  uint64 `json:"index"`
	// Algorithm makes the hashes: AlgorithmPlain or AlgorithmKeyed.
	Algorithm string `json:"algorithm"`
	// KeyID tells keys apart and says nothing of what they are.
	KeyID string `json:"key_id,omitempty"`
}

const hashField = `,"hash":"`

// encode appends the record as a line, with the hash that it sets.
func (r *Record) encode(b []byte, s sealer) ([]byte, error) {
	line, err := json.Marshal(r)
	if err != nil {
		return b, err
	}
	body := line[:len(line)-1]
	r.Hash = s.seal(body)
	b = append(append(b, body...), hashField...)
	return append(append(b, r.Hash...), "\"}\n"...), nil
}

// bound cuts a record down to its bounds.
func (r *Record) bound() {
	for _, s := range []*string{&r.Operation, &r.Path, &r.Source, &r.RequestID, &r.Problem} {
		*s = cut(*s)
	}
	if p := r.Principal; p != nil {
		r.Principal = &Principal{cut(p.Name), cut(p.Method), cut(p.KeyID)}
	}
	if over := len(r.Subjects) - MaxSubjects; over > 0 {
		r.Subjects = r.Subjects[:MaxSubjects]
		r.SubjectsOmitted += over
	}
	for i, s := range r.Subjects {
		r.Subjects[i] = Subject{cut(s.Kind), cut(s.ID)}
	}
	for k, v := range r.Details {
		r.Details[k] = cut(v)
	}
}

func cut(text string) string {
	text = strings.ToValidUTF8(text, "\uFFFD")
	if len(text) <= MaxText {
		return text
	}
	end := MaxText
	for !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + "…"
}
