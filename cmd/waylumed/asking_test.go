package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/cmd/waylumed/internal/ask"
	"github.com/waylume/waylume/usagelog"
	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/httpapi"
	"github.com/waylume/waylume/wgnode/httpapi/auth"
	"github.com/waylume/waylume/wgnode/httpapi/eventstream"
	"github.com/waylume/waylume/wgnode/wgnodetest"
)

// served is a node behind its API, on a socket where commands look for one.
type served struct {
	t         *testing.T
	dir       string
	node      *wgnode.Node
	dataplane *wgnodetest.Dataplane
	env       map[string]string
}

// newDaemon serves the API. The principal is one through the socket, or by the token "reader" one who may only read.
func newDaemon(t *testing.T, change ...func(*wgnode.Config)) *served {
	t.Helper()
	d := &served{t: t, dir: t.TempDir(), dataplane: wgnodetest.NewDataplane(), env: map[string]string{}}
	log, err := usagelog.Open(t.TempDir(), usagelog.Options{})
	require.NoError(t, err)
	cfg := wgnode.Config{Dataplane: d.dataplane, Endpoint: "vpn.example.com:51820", UsageLog: log, Store: wgnode.NewMemoryStore()}
	for _, f := range change {
		f(&cfg)
	}
	d.node, err = wgnode.New(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, d.node.Close()) })
	require.NoError(t, d.node.Start(t.Context()))
	api, err := httpapi.New(httpapi.Config{Node: d.node, Version: "1.2.3"})
	require.NoError(t, err)
	events, err := eventstream.New(eventstream.Config{Node: d.node})
	require.NoError(t, err)
	mux := http.NewServeMux()
	mux.Handle("/", api)
	mux.Handle("GET /api/v1/events", events)
	d.serve(mux)
	t.Cleanup(events.Close)
	return d
}

func (d *served) serve(handler http.Handler) {
	listener, err := (&net.ListenConfig{}).Listen(d.t.Context(), "unix", ask.Socket(d.dir))
	require.NoError(d.t, err)
	server := &http.Server{ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who := auth.Principal{Name: "unix:0", Method: "unix", Scopes: []auth.Scope{auth.PeersRead, auth.PeersWrite, auth.NodeAdmin}}
		switch r.Header.Get("Authorization") {
		case "":
		case "Bearer reader":
			who.Scopes = who.Scopes[:1]
		default:
			handler.ServeHTTP(w, r)
			return
		}
		handler.ServeHTTP(w, r.WithContext(auth.NewContext(r.Context(), who)))
	})}
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	d.t.Cleanup(func() {
		require.NoError(d.t, server.Close())
		require.ErrorIs(d.t, <-done, http.ErrServerClosed)
	})
}

// run runs a command line against the daemon. Words with spaces are in single quotes.
func (d *served) run(line string) (status int, stdout, stderr string) {
	return d.runContext(d.t.Context(), line)
}

func (d *served) runContext(ctx context.Context, line string) (status int, stdout, stderr string) {
	var args []string
	for i, part := range strings.Split(line, "'") {
		if i%2 == 1 {
			args = append(args, part)
		} else {
			args = append(args, strings.Fields(part)...)
		}
	}
	var out, errs bytes.Buffer
	status = run(ctx, args, system{stdout: &out, stderr: &errs, getenv: func(name string) string {
		if name == "WAYLUME_API" && d.env[name] == "" {
			return "unix:" + ask.Socket(d.dir)
		}
		return d.env[name]
	}})
	return status, out.String(), errs.String()
}

// want runs a command line that succeeds, and compares what it prints.
func (d *served) want(line, stdout string) {
	d.t.Helper()
	status, out, errs := d.run(line)
	require.Equal(d.t, exitOK, status, "%s: %s", line, errs)
	require.Empty(d.t, errs, line)
	require.Equal(d.t, strings.TrimPrefix(stdout, "\n"), atSomeTime(out), line)
}

// fails runs a command line that fails, and returns what it says.
func (d *served) fails(line string, status int) string {
	d.t.Helper()
	got, out, errs := d.run(line)
	require.Equal(d.t, status, got, "%s: %s%s", line, out, errs)
	require.Empty(d.t, out, line)
	return atSomeTime(errs)
}

var times = regexp.MustCompile(`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d`)

// atSomeTime puts the same time everywhere.
func atSomeTime(text string) string { return times.ReplaceAllString(text, "2026-11-21 18:00:00") }

// answer runs a command line with --json, and reads the one document that it prints.
func answer[T any](d *served, line string) (value T) {
	d.t.Helper()
	status, out, errs := d.run(line + " --json")
	require.Equal(d.t, exitOK, status, "%s: %s", line, errs)
	require.Empty(d.t, errs, line)
	decoder := json.NewDecoder(strings.NewReader(out))
	decoder.DisallowUnknownFields()
	require.NoError(d.t, decoder.Decode(&value), out)
	require.False(d.t, decoder.More(), out)
	return value
}

func (d *served) file(name string) string { return filepath.Join(d.dir, name) }
