package audit_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/wgnode/httpapi/audit"
	"github.com/waylume/waylume/wgnode/httpapi/auth"
	"github.com/waylume/waylume/wgnode/httpapi/problem"
)

// faults has a disk fail.
type faults struct{ write, sync, truncate atomic.Bool }

type faultyDisk struct {
	audit.Disk
	faults *faults
}

var errFaulty = errors.New("faulty disk")

func (d faultyDisk) Write(p []byte) (int, error) {
	if d.faults.write.Load() {
		n, err := d.Disk.Write(p[:len(p)/2])
		return n, errors.Join(errFaulty, err)
	}
	return d.Disk.Write(p)
}

func (d faultyDisk) Sync() error {
	if d.faults.sync.Load() {
		return errFaulty
	}
	return d.Disk.Sync()
}

func (d faultyDisk) Truncate(size int64) error {
	if d.faults.truncate.Load() {
		return errFaulty
	}
	return d.Disk.Truncate(size)
}

func faulty(l *audit.Log) *faults {
	f := &faults{}
	l.WrapDisk(func(d audit.Disk) audit.Disk { return faultyDisk{d, f} })
	return f
}

// api is a small one behind the log.
func api(l *audit.Log, f *faults) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /peers/{key}", func(w http.ResponseWriter, r *http.Request) {
		audit.AddSubject(r.Context(), audit.Subject{Kind: "peer", ID: r.PathValue("key")})
		audit.Detail(r.Context(), "name", "phone")
		w.Header().Set("Location", "/peers/x")
		w.WriteHeader(http.StatusCreated)
		fmt.Fprint(w, "made")
	})
	mux.HandleFunc("GET /peers", func(w http.ResponseWriter, r *http.Request) {
		audit.AddSubject(r.Context(), audit.Subject{Kind: "peer", ID: "none"})
		fmt.Fprint(w, "list")
	})
	mux.HandleFunc("PATCH /peers/{key}", func(w http.ResponseWriter, _ *http.Request) {
		problem.New(http.StatusConflict, problem.Conflict, "no").Write(w)
	})
	mux.HandleFunc("DELETE /peers/{key}", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	mux.HandleFunc("PUT /large", func(w http.ResponseWriter, _ *http.Request) {
		for range 48 {
			_, err := w.Write(bytes.Repeat([]byte("x"), 64<<10))
			if err != nil {
				return
			}
		}
	})
	mux.HandleFunc("PUT /breaks", func(w http.ResponseWriter, _ *http.Request) {
		f.sync.Store(true)
		w.Header().Set("ETag", `"1"`)
		fmt.Fprint(w, "done")
	})
	inner := l.Middleware(mux)
	authenticated := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Request-Id", "id-1")
		if r.Header.Get("Authorization") == "" {
			problem.New(http.StatusUnauthorized, problem.Unauthenticated, "who?").Write(w)
			return
		}
		inner.ServeHTTP(w, r.WithContext(auth.NewContext(r.Context(), auth.Principal{Name: "backend", Method: "jwt", KeyID: "k1"})))
	})
	return l.Refusals(authenticated)
}

type reply struct {
	status int
	header http.Header
	body   string
}

func ask(t *testing.T, server *httptest.Server, method, path string, known bool) (reply, error) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, server.URL+path, http.NoBody)
	require.NoError(t, err)
	if known {
		r.Header.Set("Authorization", "Bearer x")
	}
	answer, err := server.Client().Do(r)
	if err != nil {
		return reply{}, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	return reply{answer.StatusCode, answer.Header, string(body)}, err
}

func TestMiddleware(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, audit.Options{})
	f := faulty(l)
	server := httptest.NewServer(api(l, f))
	defer server.Close()
	last := func(n int) []audit.Record {
		all := records(t, dir)
		return all[len(all)-n:]
	}

	got, err := ask(t, server, "POST", "/peers/KEY", true)
	require.NoError(t, err)
	require.Equal(t, http.StatusCreated, got.status)
	require.Equal(t, "made", got.body)
	require.Equal(t, "/peers/x", got.header.Get("Location"))
	pair := last(2)
	require.Equal(t, audit.Record{
		Sequence: 3, Time: pair[0].Time, Kind: audit.KindIntent, Operation: "POST /peers/KEY", Path: "/peers/KEY",
		Principal: &audit.Principal{Name: "backend", Method: "jwt", KeyID: "k1"}, Source: "127.0.0.1", RequestID: "id-1",
		Previous: pair[0].Previous, Hash: pair[0].Hash,
	}, pair[0])
	require.Equal(t, audit.Record{
		Sequence: 4, Time: pair[1].Time, Kind: audit.KindResult, Of: 3, Operation: "POST /peers/{key}", Status: 201, Outcome: audit.Done,
		Subjects: []audit.Subject{{Kind: "peer", ID: "KEY"}}, Details: map[string]string{"name": "phone"},
		Previous: pair[0].Hash, Hash: pair[1].Hash,
	}, pair[1])

	got, err = ask(t, server, "GET", "/peers", true)
	require.NoError(t, err)
	require.Equal(t, "list", got.body)
	require.EqualValues(t, 4, l.Head().Sequence, "what changes nothing has no record")

	got, err = ask(t, server, "PATCH", "/peers/KEY", true)
	require.NoError(t, err)
	require.Equal(t, http.StatusConflict, got.status)
	result := last(1)[0]
	require.Equal(t, audit.Refused, result.Outcome)
	require.Equal(t, string(problem.Conflict), result.Problem)

	_, err = ask(t, server, "DELETE", "/peers/KEY", true)
	require.Error(t, err, "the handler has panicked")
	result = last(1)[0]
	require.Equal(t, audit.Failed, result.Outcome)
	require.Equal(t, 500, result.Status)

	got, err = ask(t, server, "PUT", "/large", true)
	require.NoError(t, err)
	require.Len(t, got.body, 3<<20)
	require.Equal(t, audit.Done, last(1)[0].Outcome)

	got, err = ask(t, server, "POST", "/peers/KEY", false)
	require.NoError(t, err)
	require.Equal(t, http.StatusUnauthorized, got.status)
	require.Eventually(t, func() bool { return last(1)[0].Kind == audit.KindRefusal }, waitFor, tick)
	require.Equal(t, 401, last(1)[0].Status)
	require.Equal(t, "127.0.0.1", last(1)[0].Source)
	require.NoError(t, l.Close())
	require.Empty(t, verify(t, dir, audit.VerifyOptions{}).Unknown)
}

// TestWithoutRecordNoChange has the disk fail before a change, and after one.
func TestWithoutRecordNoChange(t *testing.T) {
	dir := t.TempDir()
	var words lockedBuffer
	l := open(t, dir, audit.Options{Logger: words.logger()})
	f := faulty(l)
	server := httptest.NewServer(api(l, f))
	defer server.Close()
	unrecorded := func(got reply) string {
		t.Helper()
		require.Equal(t, http.StatusServiceUnavailable, got.status)
		require.Equal(t, "5", got.header.Get("Retry-After"))
		var p problem.Problem
		require.NoError(t, json.Unmarshal([]byte(got.body), &p))
		require.Equal(t, audit.Unrecorded, p.Type)
		return p.Detail
	}
	for _, fault := range []*atomic.Bool{&f.write, &f.sync} {
		for _, stays := range []bool{false, true} { // what was half written cannot be taken away either
			fault.Store(true)
			f.truncate.Store(stays)
			head := l.Head()
			for range 2 {
				got, err := ask(t, server, "POST", "/peers/KEY", true)
				require.NoError(t, err)
				require.Contains(t, unrecorded(got), "changes nothing")
				require.Equal(t, head, l.Head())
			}
			got, err := ask(t, server, "GET", "/peers", true)
			require.NoError(t, err)
			require.Equal(t, "list", got.body, "what changes nothing is served")
			fault.Store(false)
			f.truncate.Store(false)
			got, err = ask(t, server, "POST", "/peers/KEY", true)
			require.NoError(t, err)
			require.Equal(t, http.StatusCreated, got.status, "it works again")
			require.Equal(t, head.Sequence+2, l.Head().Sequence)
		}
	}
	got, err := ask(t, server, "PUT", "/breaks", true)
	require.NoError(t, err)
	require.Contains(t, unrecorded(got), "may have been made")
	require.Empty(t, got.header.Get("ETag"))
	r := verify(t, dir, audit.VerifyOptions{})
	require.Len(t, r.Unknown, 1)
	f.sync.Store(false)
	got, err = ask(t, server, "POST", "/peers/KEY", true)
	require.NoError(t, err)
	require.Equal(t, http.StatusCreated, got.status)
	require.Empty(t, verify(t, dir, audit.VerifyOptions{}).Unknown, "the result was written late")
	require.NoError(t, l.Close())
	verify(t, dir, audit.VerifyOptions{})
	require.Contains(t, words.String(), "change refused, as the audit log fails")
	require.Contains(t, words.String(), "result of a change not recorded yet")
}

// TestRefusalsAreBounded has somebody without a key knock 10,000 times in a minute, and again later.
func TestRefusalsAreBounded(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		l := open(t, dir, audit.Options{})
		handler := api(l, nil)
		for i := range 10_000 {
			r := httptest.NewRequestWithContext(t.Context(), []string{"GET", "POST"}[i%2], "/peers/KEY", http.NoBody)
			handler.ServeHTTP(httptest.NewRecorder(), r)
		}
		require.EqualValues(t, 2+audit.RefusalsEach, l.Head().Sequence)
		sleepPast(2 * audit.RefusalWindow)
		require.EqualValues(t, 2+audit.RefusalsEach+1, l.Head().Sequence)
		handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), "GET", "/peers", http.NoBody))
		require.EqualValues(t, 2+audit.RefusalsEach+2, l.Head().Sequence, "a minute later each is told of again")
		require.NoError(t, l.Close())
	})
	all := records(t, dir)
	count := all[2+audit.RefusalsEach]
	require.Equal(t, audit.KindRefusals, count.Kind)
	require.EqualValues(t, 10_000-audit.RefusalsEach, count.Count)
	require.Equal(t, map[string]uint64{"401": 10_000 - audit.RefusalsEach}, count.Statuses)
	verify(t, dir, audit.VerifyOptions{})
}

func TestConcurrentChanges(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, audit.Options{SegmentSize: audit.MinSegmentSize})
	server := httptest.NewServer(api(l, nil))
	defer server.Close()
	const clients, each = 16, 25
	failed := make(chan error, clients)
	var all sync.WaitGroup
	for c := range clients {
		all.Go(func() {
			for i := range each {
				got, err := ask(t, server, "POST", fmt.Sprintf("/peers/%d-%d", c, i), true)
				if err == nil && got.status != http.StatusCreated {
					err = errors.New(got.body)
				}
				if err != nil {
					failed <- err
					return
				}
			}
		})
	}
	all.Wait()
	close(failed)
	require.NoError(t, <-failed)
	require.NoError(t, l.Close())
	r := verify(t, dir, audit.VerifyOptions{})
	require.Empty(t, r.Unknown)
	require.Greater(t, r.Segments, 1)
	results := make(map[string]bool)
	for _, r := range records(t, dir) {
		if r.Kind == audit.KindResult {
			results[r.Subjects[0].ID] = true
		}
	}
	require.Len(t, results, clients*each)
}
