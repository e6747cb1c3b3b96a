package main

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/cmd/waylumed/internal/usage"
	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/httpapi/eventstream"
	api "github.com/waylume/waylume/wgnode/httpapi/v1"
)

func TestDrain(t *testing.T) {
	d := populated(t)
	d.want("drain", "The node takes no new peers any more. It has 2, which stay.\n")
	require.True(t, answer[api.Node](d, "drain").Draining)
	require.Equal(t, "waylumed: create a peer: Draining: the node takes no new peers: create them on another\n"+
		"'waylumed undrain' has the node take new peers again\n", d.fails("peers add tablet", exitFailed))
	d.want("undrain", "The node takes new peers. It has 2.\n")
	require.False(t, answer[api.Node](d, "undrain").Draining)
}

func TestStatusOfDaemon(t *testing.T) {
	d := populated(t)
	status, out, stderr := d.run("status")
	require.Equal(t, exitOK, status, stderr)
	for _, line := range []string{
		"Node\n  State          running\n", "  Version        1.2.3\n", "  Peers          2\n  Accounts       1\n", "✓ Nothing is known to be wrong.\n",
	} {
		require.Contains(t, out, line)
	}
	require.Equal(t, 2, answer[api.Node](d, "status").Peers)
	// Where no control socket answers, the API does.
	status, out, _ = command(t.Context(), "status", "--state", d.dir)
	require.Equal(t, exitOK, status)
	require.Contains(t, out, "  Version        1.2.3\n")
	require.Contains(t, d.fails("status --state "+t.TempDir(), exitFailed), "no node runs there")
	d.want("drain", "The node takes no new peers any more. It has 2, which stay.\n")
	_, out, _ = d.run("status")
	require.Contains(t, out, "running, draining: new peers are refused")
}

// What a daemon tells of usage is what its log does.
func TestUsageOfDaemon(t *testing.T) {
	d := populated(t)
	report := answer[usage.Report](d, "usage --from 2026-01-01 --to 2100-01-01")
	require.Equal(t, usage.Schema, report.Schema)
	require.Len(t, report.Steps, 1)
	days := answer[usage.Report](d, "usage --from 2026-01-01 --to 2026-01-04 --by day --account family")
	require.Len(t, days.Steps, 3)
	require.Empty(t, days.Steps[0].Usages)
	status, out, stderr := d.run("usage --peer " + phoneKey + " --from 2026-01-01")
	require.Equal(t, exitOK, status, stderr)
	require.Contains(t, out, "Usage  2026-01-01T00:00:00Z to ")
	require.Contains(t, d.fails("usage --state "+t.TempDir(), exitFailed), "There is no usage log", "a state that is named is read")
}

func TestEvents(t *testing.T) {
	d := populated(t)
	first := d.eventsOf("events -f --json --count 1")
	require.Equal(t, eventstream.Kind("peer_suspended"), first[0].Kind)
	require.Equal(t, phoneKey, first[0].Peer)
	status, out, stderr := d.run("events --count 1 --kind peer_suspended --peer phone --after " + first[0].Boot + "-1")
	require.Equal(t, exitOK, status, stderr)
	require.Regexp(t, `^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  peer_suspended +peer `+phoneKey+`\n$`, out)
	require.Contains(t, d.fails("events --kind peer_gone", exitFailed), "read events: the node refuses it\n  query.kind: ")
	require.Contains(t, d.fails("events --peer nobody", exitFailed), "there is no such peer")

	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	status, _, _ = d.runContext(ctx, "events")
	require.Equal(t, exitFailed, status)
}

// eventsOf runs a command line while a peer is suspended again and again.
func (d *served) eventsOf(line string) (events []eventstream.Event) {
	d.t.Helper()
	ctx, cancel := context.WithCancel(d.t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		key := api.Key{2}
		for suspended := true; ctx.Err() == nil; suspended = !suspended {
			toggle := map[bool]func(context.Context, wgnode.Subject) error{true: d.node.Suspend, false: d.node.Resume}
			_ = toggle[suspended](ctx, wgnode.OfPeer([32]byte(key))) // until the test has seen one
			time.Sleep(time.Millisecond)
		}
	}()
	status, out, stderr := d.run(line + " --kind peer_suspended")
	cancel()
	<-done
	require.Equal(d.t, exitOK, status, stderr)
	for text := range strings.Lines(out) {
		var event eventstream.Event
		require.NoError(d.t, json.Unmarshal([]byte(text), &event))
		events = append(events, event)
	}
	return events
}

// Errors say what to do.
func TestAskingFails(t *testing.T) {
	d := populated(t)
	require.NoError(t, os.WriteFile(d.file("reader"), []byte("reader\n"), 0o600))
	require.NoError(t, os.WriteFile(d.file("wrong"), []byte("wrong\n"), 0o600))
	require.NoError(t, os.WriteFile(d.file("empty"), nil, 0o600))
	for _, test := range []struct {
		line   string
		status int
		want   string
	}{
		{"peers list --api unix:/nowhere/api.sock", exitFailed,
			"There is no socket: does the daemon run, and with this state? Say where its API is with --api or WAYLUME_API"},
		{"peers list --state " + t.TempDir(), exitFailed, "There is no socket: does the daemon run"},
		{"peers list --api ftp://x", exitUsage, "waylumed: the URL is not where an API is: give such as https://"},
		{"peers list --api unix:api.sock", exitUsage, "give the whole path of the socket"},
		{"peers list --api unix:/x --state y", exitUsage, "give one of them"},
		{"peers list --token-file " + d.file("wrong"), exitFailed, "Give a token that the daemon knows with --token-file"},
		{"peers remove phone --token-file " + d.file("reader"), exitFailed, "Whoever asks needs the scope peers:write"},
		{"drain --token-file " + d.file("reader"), exitFailed, "Whoever asks needs the scope node:admin"},
		{"peers list --token-file " + d.file("none"), exitFailed, "--token-file: open"},
		{"peers list --token-file " + d.file("empty"), exitUsage, "is empty: put the token into it"},
		{"peers list --api http://192.0.2.1 --token-file " + d.file("reader"), exitFailed, "is not sent to 192.0.2.1 without TLS"},
		{"peers list --ca-file " + d.file("empty"), exitUsage, "has no certificate in PEM"},
		{"peers list --cert-file x", exitUsage, "go together"},
		{"events --api unix:/nowhere/api.sock", exitFailed, "There is no socket"},
	} {
		require.Contains(t, d.fails(test.line, test.status), test.want, test.line)
	}
	require.Len(t, answer[[]api.Peer](d, "peers list --token-file "+d.file("reader")), 2)
	d.env["WAYLUME_TOKEN_FILE"] = d.file("wrong")
	require.Contains(t, d.fails("peers list", exitFailed), "Unauthenticated")
}

// What a daemon says does nothing to a terminal.
func TestHostileDaemon(t *testing.T) {
	d := &served{t: t, dir: t.TempDir(), env: map[string]string{}}
	d.serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "accounts") {
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(http.StatusNotFound)
			_, _ = w.Write([]byte(`{"title": "\u001b[2Jgone", "detail": "\u202e"}`))
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"items": [{"name": "\u001b]0;x\u0007y", "public_key": "` + phoneKey + `", "account": "\u009b2J"}]}`))
	}))
	status, out, _ := d.run("peers list")
	require.Equal(t, exitOK, status)
	require.NotContains(t, out, "\x1b")
	require.NotContains(t, out, "\u009b")
	require.Contains(t, out, "│ \ufffd]0;x\ufffdy │")
	require.Equal(t, "waylumed: get an account: \ufffd[2Jgone: \ufffd\n", d.fails("accounts show x", exitFailed))
}

func TestCompletionOfDaemon(t *testing.T) {
	d := populated(t)
	d.run("peers add phone --public-key BAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=")
	d.run("peers add 'a b' --public-key BQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=")
	completions := func(line string) string {
		_, out, _ := d.run(cobra.ShellCompRequestCmd + " " + line)
		return out
	}
	require.Equal(t, `AgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=	phone, 10.0.0.2, fd77:6179:6c75:6d65::2, account family
laptop	10.0.0.3, fd77:6179:6c75:6d65::3
BAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=	phone, 10.0.0.4, fd77:6179:6c75:6d65::4
BQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=	a b, 10.0.0.5, fd77:6179:6c75:6d65::5
:4
`, completions("peers show ''"))
	require.Equal(t, "laptop\t10.0.0.3, fd77:6179:6c75:6d65::3\n:4\n", completions("peers remove l"))
	require.Equal(t, ":4\n", completions("peers remove laptop l"), "it is given")
	require.Equal(t, "family\t200 Mbit/s, 1 TiB monthly\n:4\n", completions("accounts show f"))
	require.Equal(t, "family\t200 Mbit/s, 1 TiB monthly\n:4\n", completions("peers list --account f"))
	require.Equal(t, "family\t200 Mbit/s, 1 TiB monthly\n:4\n", completions("peers move laptop f"))
	require.Contains(t, completions("peers limit laptop ''"), "20mbit\n")
	require.Contains(t, completions("peers cap laptop --period ''"), "monthly\n")
	require.Contains(t, completions("events --kind peer_a"), "peer_added\n")
	require.Contains(t, completions("peers ''"), "suspend\tClose peers, and keep them\n")
	require.Equal(t, ":4\n", completions("peers show --api unix:/nowhere ''"), "nobody answers")
}
