package audit

import (
	"encoding/json"
	"net/http"

	"github.com/waylume/waylume/wgnode/httpapi/problem"
)

// maxHeld is how much of an answer is held back until its record is written, in bytes.
const maxHeld = 1 << 20

// answer holds the answer to a request back until its record is on the disk.
type answer struct {
	w       http.ResponseWriter
	log     *Log
	change  *Change
	request *http.Request

	status int
	held   []byte
	// sent: the record is written, and what comes goes through; err: it could not be, and somebody else has answered.
	sent bool
	err  error
}

func (a *answer) Header() http.Header { return a.w.Header() }

func (a *answer) WriteHeader(status int) {
	switch {
	case status < http.StatusOK: // that the request is being served says nothing of what becomes of it
		a.w.WriteHeader(status)
	case a.status == 0:
		a.status = status
	}
}

func (a *answer) Write(p []byte) (int, error) {
	if a.status == 0 {
		a.status = http.StatusOK
	}
	if !a.sent && len(a.held)+len(p) <= maxHeld {
		a.held = append(a.held, p...)
		return len(p), nil
	}
	if a.release(); a.err != nil {
		return 0, a.err
	}
	return a.w.Write(p)
}

// FlushError sends what there is, for [http.ResponseController].
func (a *answer) FlushError() error {
	if a.release(); a.err != nil {
		return a.err
	}
	return http.NewResponseController(a.w).Flush()
}

// Flush is that of [http.Flusher].
func (a *answer) Flush() {
	_ = a.FlushError() // the next Write says what is wrong
}

// Unwrap lets [http.ResponseController] set deadlines.
func (a *answer) Unwrap() http.ResponseWriter { return a.w }

// release writes the record and lets the answer go.
func (a *answer) release() {
	if a.sent || a.err != nil {
		return
	}
	if a.status == 0 {
		a.status = http.StatusOK
	}
	if a.err = a.change.end(a.request.Context(), a.operation(), a.result()); a.err != nil {
		a.refuse()
		return
	}
	a.sent = true
	a.w.WriteHeader(a.status)
	_, _ = a.w.Write(a.held) // the caller is gone, then
	a.held = nil
}

// result is what the answer says of the change.
func (a *answer) result() Result {
	r := Result{Outcome: Done, Status: a.status}
	switch {
	case a.status >= http.StatusInternalServerError:
		r.Outcome = Failed
	case a.status >= http.StatusBadRequest:
		r.Outcome = Refused
	}
	var p struct{ Type string }
	if a.Header().Get("Content-Type") == problem.ContentType && json.Unmarshal(a.held, &p) == nil {
		r.Problem = p.Type
	}
	return r
}

// operation is the route, if only the handlers knew it.
func (a *answer) operation() string {
	if a.log.opts.Route != nil || a.request.Pattern == "" {
		return ""
	}
	return withMethod(a.request.Method, a.request.Pattern)
}

// refuse answers when the change has been made, or not, but the record cannot be written.
func (a *answer) refuse() {
	a.log.opts.Logger.Error("result of a change not recorded yet", "intent", a.change.Sequence(), "status", a.status, "error", a.err)
	a.held = nil
	for _, name := range []string{"Content-Length", "Content-Encoding", "ETag", "Last-Modified", "Location"} {
		a.Header().Del(name)
	}
	a.Header().Set("Retry-After", "5")
	problem.New(http.StatusServiceUnavailable, Unrecorded,
		"The change may have been made, but the node cannot write what became of it to its audit log. "+
			"Ask again with the same idempotency key, or look whether it was.").Because(a.err).Write(a.w)
}

// abandon records a change whose handler has panicked.
func (a *answer) abandon() {
	if a.sent || a.err != nil {
		return
	}
	a.err = a.change.end(a.request.Context(), a.operation(), Result{Outcome: Failed, Status: http.StatusInternalServerError})
	if a.err != nil {
		a.log.opts.Logger.Error("result of a change not recorded yet", "intent", a.change.Sequence(), "error", a.err)
	}
}
