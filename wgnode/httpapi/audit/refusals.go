package audit

import (
	"context"
	"maps"
	"net/http"
	"strconv"
	"sync"
	"time"
)

const (
	// refusalWindow and refusalsEach bound what refused requests can write: so many records each and one of the others' number
	// in that time, some 15 MB a day.
	refusalWindow = time.Minute
	refusalsEach  = 10
)

// refusals counts requests that were refused. The zero value has seen none.
type refusals struct {
	mu sync.Mutex // guards what follows
	// began is when the window did; each is how many had a record in it.
	began time.Time
	each  int
	// since is when the first of those without a record was.
	since    time.Time
	count    uint64
	statuses map[string]uint64
}

// note reports whether a refusal is to have a record of its own, and counts it otherwise.
func (f *refusals) note(now time.Time, status int) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if age := now.Sub(f.began); age >= refusalWindow || age < 0 {
		f.began, f.each = now, 0
	}
	if f.each < refusalsEach {
		f.each++
		return true
	}
	f.countLocked(now, status)
	return false
}

// missed counts a refusal whose record could not be written.
func (f *refusals) missed(now time.Time, status int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.countLocked(now, status)
}

func (f *refusals) countLocked(now time.Time, status int) {
	if f.count == 0 {
		f.since, f.statuses = now.UTC().Round(0), make(map[string]uint64)
	}
	f.count++
	f.statuses[strconv.Itoa(status)]++ // 401, 403 and 429
}

// take returns the record of those that have none, if their window is over, or if now is zero.
func (f *refusals) take(now time.Time) []*Record {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.count == 0 || !now.IsZero() && now.Sub(f.since) < refusalWindow {
		return nil
	}
	since := f.since
	r := &Record{Kind: KindRefusals, Count: f.count, From: &since, Statuses: maps.Clone(f.statuses)}
	f.count, f.statuses = 0, nil
	return []*Record{r}
}

// seen is what the inner layers tell Refusals of a request.
type seen struct{ audited bool }

type seenKey struct{}

func seenFrom(ctx context.Context) *seen {
	s, _ := ctx.Value(seenKey{}).(*seen)
	return s
}

// Refusals writes requests to the log that are answered with 401, 403 or 429 and have no record by [Log.Middleware], of any
// method. It belongs around what finds out who asks. So that nobody can fill the disk with them, 10 in a minute have a record
// each; of the others one record has the number. Answers do not wait for it, and go out if it cannot be written: a request that
// was refused has changed nothing. What a kill loses is the number of the last minute.
func (l *Log) Refusals(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := &seen{}
		watch := &statusWatch{ResponseWriter: w}
		next.ServeHTTP(watch, r.WithContext(context.WithValue(r.Context(), seenKey{}, s)))
		switch watch.status {
		case http.StatusUnauthorized, http.StatusForbidden, http.StatusTooManyRequests:
			if !s.audited {
				l.refused(w, r, watch.status)
			}
		}
	})
}

// refused writes or counts a refusal.
func (l *Log) refused(w http.ResponseWriter, r *http.Request, status int) {
	now := time.Now()
	if !l.refusals.note(now, status) {
		return
	}
	record := l.entry(w, r).record(r.Context(), KindRefusal)
	record.set(Result{Outcome: Refused, Status: status})
	if err := l.append(context.WithoutCancel(r.Context()), record); err != nil {
		l.opts.Logger.Error("refusal not recorded", "error", err)
		l.refusals.missed(now, status)
	}
}

// statusWatch sees the status of an answer.
type statusWatch struct {
	http.ResponseWriter
	status int
}

func (s *statusWatch) WriteHeader(status int) {
	if s.status == 0 && status >= http.StatusOK {
		s.status = status
	}
	s.ResponseWriter.WriteHeader(status)
}

// Unwrap lets [http.ResponseController] reach what is beneath.
func (s *statusWatch) Unwrap() http.ResponseWriter { return s.ResponseWriter }
