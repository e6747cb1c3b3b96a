package audit

import (
	"context"
	"maps"
	"slices"
	"sync"

	"github.com/waylume/waylume/wgnode/httpapi/auth"
)

// Entry is what a record says of a change. Texts are cut off at MaxText bytes.
type Entry struct {
	// Operation says what is asked for: the method and the route of a request, or a word as "reload", "rotate-key".
	Operation string
	// Path is a request's.
	Path string
	// Principal is who asks. Zero: whom the context has, as package auth puts it there; nobody, if it has none.
	Principal auth.Principal
	// Source is where from, and RequestID under which id.
	Source, RequestID string
	// Subjects are what the change is of, as far as that is known before it.
	Subjects []Subject
	// Details say more, as names and values: "speed_limit.download": "20mbit". They are no place for secrets.
	Details map[string]string
	// Result is for Log.Record alone. Zero: Done.
	Result Result
}

// Result is what became of a change.
type Result struct {
	// Outcome is Done, if zero.
	Outcome Outcome
	// Status is that of the answer, and Problem its type, if it is a problem.
	Status  int
	Problem string
}

func (e Entry) record(ctx context.Context, kind Kind) *Record {
	r := &Record{
		Kind: kind, Operation: e.Operation, Path: e.Path, Source: e.Source, RequestID: e.RequestID,
		Subjects: slices.Clone(e.Subjects), Details: maps.Clone(e.Details),
	}
	p := e.Principal
	if p.Name == "" && p.Method == "" {
		p, _ = auth.FromContext(ctx)
	}
	if p.Name != "" || p.Method != "" {
		r.Principal = &Principal{p.Name, p.Method, p.KeyID}
	}
	return r
}

// Record writes that something has happened, and returns when it is on the disk. If that fails, it is written later, when the
// disk takes it, unless the process ends before. Errors match [ErrClosed] or are what the system says.
func (l *Log) Record(ctx context.Context, e Entry) error {
	r := e.record(ctx, KindEvent)
	r.set(e.Result)
	return l.append(context.WithoutCancel(ctx), r)
}

func (r *Record) set(result Result) {
	r.Outcome, r.Status, r.Problem = result.Outcome, result.Status, result.Problem
	if r.Outcome == "" {
		r.Outcome = Done
	}
}

// Change is a change that is under way. Its methods may be called from any goroutine.
type Change struct {
	log      *Log
	sequence uint64

	mu sync.Mutex // guards what follows
	// result has what the change has become known to be of since the intent.
	result *Record
	ended  bool
	err    error
}

// Begin writes that a change is about to be made, and returns when that is on the disk. After an error the change must not be
// made. Errors match [ErrClosed], or are the context's, or what the system says.
func (l *Log) Begin(ctx context.Context, e Entry) (*Change, error) {
	r := e.record(ctx, KindIntent)
	if err := l.append(ctx, r); err != nil {
		return nil, err
	}
	return &Change{log: l, sequence: r.Sequence, result: &Record{Kind: KindResult, Of: r.Sequence}}, nil
}

// Sequence is the number of the change's intent.
func (c *Change) Sequence() uint64 { return c.sequence }

// AddSubject adds what the change has turned out to be of to its result.
func (c *Change) AddSubject(subjects ...Subject) {
	c.mu.Lock()
	defer c.mu.Unlock()
	room := min(len(subjects), MaxSubjects-len(c.result.Subjects))
	c.result.Subjects = append(c.result.Subjects, subjects[:room]...)
	c.result.SubjectsOmitted += len(subjects) - room
}

// Detail adds a name and a value to the change's result, in place of the value that the name had. They are no place for secrets.
func (c *Change) Detail(name, value string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	name = cut(name)
	if _, there := c.result.Details[name]; !there && len(c.result.Details) == MaxDetails {
		return
	}
	if c.result.Details == nil {
		c.result.Details = make(map[string]string)
	}
	c.result.Details[name] = cut(value)
}

// End writes what became of the change, and returns when that is on the disk: only then is it to be answered. If that fails,
// it is written later, when the disk takes it; a process that ends before leaves the change without a result. Ending again does
// nothing, and returns what the first did.
func (c *Change) End(ctx context.Context, result Result) error { return c.end(ctx, "", result) }

func (c *Change) end(ctx context.Context, operation string, result Result) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return c.err
	}
	c.ended = true
	r := c.result
	c.result = &Record{} // what is added from now on is too late
	r.Operation = operation
	r.set(result)
	c.err = c.log.append(context.WithoutCancel(ctx), r)
	return c.err
}

type contextKey struct{}

// FromContext returns the change that a request is; nil: none, it is one that changes nothing.
func FromContext(ctx context.Context) *Change {
	c, _ := ctx.Value(contextKey{}).(*Change)
	return c
}

// AddSubject adds what a request changes to its record. Without [Log.Middleware] around it, it does nothing.
func AddSubject(ctx context.Context, subjects ...Subject) {
	if c := FromContext(ctx); c != nil {
		c.AddSubject(subjects...)
	}
}

// Detail adds a name and a value to the record of a request, as [Change.Detail] does.
func Detail(ctx context.Context, name, value string) {
	if c := FromContext(ctx); c != nil {
		c.Detail(name, value)
	}
}
