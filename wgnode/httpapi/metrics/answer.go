package metrics

import (
	"io"
	"mime"
	"net/http"
	"strconv"
)

// answer watches what is answered. What it does not do itself, [http.ResponseController] finds below it.
type answer struct {
	http.ResponseWriter
	status int // 0: not yet
	n      int64
}

// Unwrap is for [http.ResponseController].
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// WriteHeader implements [http.ResponseWriter].
func (a *answer) WriteHeader(status int) {
	// What is informational is followed by another one (RFC 9110, section 15.2), but for 101.
	if a.status == 0 && (status >= 200 || status == http.StatusSwitchingProtocols) {
		a.status = status
	}
	a.ResponseWriter.WriteHeader(status)
}

// Write implements [io.Writer].
func (a *answer) Write(p []byte) (int, error) {
	if a.status == 0 {
		a.status = http.StatusOK
	}
	n, err := a.ResponseWriter.Write(p)
	a.n += int64(n)
	return n, err
}

// Flush implements [http.Flusher]. Where the connection cannot flush, nothing happens, as with any other writer that lacks it.
func (a *answer) Flush() {
	if a.status == 0 {
		a.status = http.StatusOK
	}
	_ = http.NewResponseController(a.ResponseWriter).Flush() // the interface has no error, and the next Write tells
}

// class is "2xx" and so on. A handler that says nothing has answered with 200.
func (a *answer) class() string {
	if a.status == 0 {
		return "2xx"
	}
	if a.status < 100 || a.status > 599 {
		return other
	}
	return strconv.Itoa(a.status/100) + "xx"
}

// streams reports that the answer is one of events, which takes as long as its reader likes.
func (a *answer) streams() bool {
	kind, _, err := mime.ParseMediaType(a.Header().Get("Content-Type"))
	return err == nil && kind == "text/event-stream"
}

// countedBody counts what is read of a body.
type countedBody struct {
	io.ReadCloser
	n int64
}

func (b *countedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.n += int64(n)
	return n, err
}
