package idempotency

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"time"
)

// answer is what is kept of one.
type answer struct {
	Status int         `json:"status"`
	Header http.Header `json:"header,omitempty"`
	Body   []byte      `json:"body,omitempty"`
}

func (m material) seal(a answer, e Entry) ([]byte, error) {
	plain, err := json.Marshal(a)
	if err != nil {
		return nil, err
	}
	return m.cipher.Seal(nil, nil, plain, e.associated()), nil
}

// open fails if the answer was not sealed for this entry with this key.
func (m material) open(sealed []byte, e Entry) (a answer, err error) {
	plain, err := m.cipher.Open(nil, nil, sealed, e.associated())
	if err != nil {
		return answer{}, fmt.Errorf("%w: an answer: %w", ErrDamaged, err)
	}
	if err := json.Unmarshal(plain, &a); err != nil {
		return answer{}, fmt.Errorf("%w: an answer: %w", ErrDamaged, err)
	}
	if a.Status < 200 || a.Status > 499 {
		return answer{}, fmt.Errorf("%w: an answer with status %d", ErrDamaged, a.Status)
	}
	return a, nil
}

// associated binds an answer to its entry.
func (e Entry) associated() []byte { return append(e.ID[:], e.Print[:]...) }

func (a answer) replay(w http.ResponseWriter) {
	maps.Copy(w.Header(), a.Header)
	w.Header().Set(ReplayedHeader, "true")
	w.WriteHeader(a.Status)
	_, _ = w.Write(a.Body) // the client is gone, then
}

// fate is what an answer says of its request.
type fate int

const (
	settled  fate = iota // it was decided upon: the answer is kept
	undone               // nothing was done
	doubtful             // it failed, and something may have been done
)

func fateOf(status int) fate {
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusTooEarly, http.StatusTooManyRequests,
		http.StatusServiceUnavailable:
		return undone
	case http.StatusRequestTimeout:
		return doubtful
	}
	if status >= http.StatusInternalServerError {
		return doubtful
	}
	return settled
}

// recorder holds an answer back until it is whole, or too large to be kept.
type recorder struct {
	w      http.ResponseWriter
	max    int
	excess func(status int) // called once, before any of an answer that is too large is sent

	header http.Header
	status int         // 0: not known yet
	fixed  http.Header // header when the status was written
	body   bytes.Buffer
	passed bool // all goes to w
}

func newRecorder(w http.ResponseWriter, most int, excess func(int)) *recorder {
	return &recorder{w: w, max: most, excess: excess, header: w.Header().Clone()}
}

// Header is what the handler may change until the status is written.
func (r *recorder) Header() http.Header {
	if r.header == nil {
		r.header = make(http.Header)
	}
	return r.header
}

// WriteHeader takes the first final status; informational ones are not passed on.
func (r *recorder) WriteHeader(status int) {
	if r.status == 0 && status >= http.StatusOK {
		r.status, r.fixed = status, r.Header().Clone()
	}
}

// Write keeps what is written, or passes it on once there is too much.
func (r *recorder) Write(b []byte) (int, error) {
	r.WriteHeader(http.StatusOK)
	if r.status == http.StatusNoContent || r.status == http.StatusNotModified {
		return 0, http.ErrBodyNotAllowed
	}
	if !r.passed && r.body.Len()+len(b) > r.max {
		r.excess(r.status)
		r.send()
	}
	if r.passed {
		return r.w.Write(b)
	}
	return r.body.Write(b)
}

// FlushError does nothing: an answer with a key is sent when it is whole.
func (r *recorder) FlushError() error { return nil }

// SetReadDeadline and SetWriteDeadline are the connection's, for [http.ResponseController].
func (r *recorder) SetReadDeadline(at time.Time) error {
	return http.NewResponseController(r.w).SetReadDeadline(at)
}

// SetWriteDeadline is the connection's.
func (r *recorder) SetWriteDeadline(at time.Time) error {
	return http.NewResponseController(r.w).SetWriteDeadline(at)
}

// send gives the client what there is.
func (r *recorder) send() {
	if r.passed {
		return
	}
	r.passed = true
	r.WriteHeader(http.StatusOK)
	clear(r.w.Header())
	maps.Copy(r.w.Header(), r.fixed)
	r.w.WriteHeader(r.status)
	_, _ = r.w.Write(r.body.Bytes()) // the client is gone, then
}

// answer is what is kept of what was recorded.
func (r *recorder) answer(headers []string) answer {
	r.WriteHeader(http.StatusOK)
	a := answer{Status: r.status, Header: make(http.Header), Body: r.body.Bytes()}
	for _, name := range headers {
		if values, ok := r.fixed[name]; ok {
			a.Header[name] = values
		}
	}
	return a
}
