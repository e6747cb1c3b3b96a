package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/cmd/waylumed/internal/control"
	"github.com/waylume/waylume/cmd/waylumed/internal/state"
	"github.com/waylume/waylume/cmd/waylumed/internal/status"
)

// reporter is a node that is so.
type reporter struct{ is status.Report }

func (reporter) Copy(context.Context, io.Writer) error { return errors.New("it has no state") }

func (r reporter) Report(_ context.Context, to io.Writer) error { return r.is.WriteJSON(to) }

func TestStatus(t *testing.T) {
	dir := t.TempDir()
	code, _, stderr := command(t.Context(), "status", "--state", dir)
	require.Equal(t, exitFailed, code)
	require.Contains(t, stderr, "no node runs there")
	require.Contains(t, stderr, "waylumed up")
	code, _, stderr = command(t.Context(), "status", "now")
	require.Equal(t, exitUsage, code, stderr)

	well := status.Report{Schema: status.Schema, State: "running", Problems: []status.Problem{}}
	ill := well
	ill.Problems = []status.Problem{{Kind: "store-failing", Area: "store", What: "the disk is full"}}
	for _, is := range []status.Report{well, ill} {
		server, err := control.Listen(state.Socket(dir), reporter{is})
		require.NoError(t, err)
		want := map[bool]int{true: exitOK, false: exitFailed}[len(is.Problems) == 0]
		code, text, stderr := command(t.Context(), "status", "--state", dir)
		require.Equal(t, want, code)
		require.Empty(t, stderr)
		require.Contains(t, text, "running since")
		code, text, _ = command(t.Context(), "status", "--json", "--state", dir)
		require.Equal(t, want, code)
		var got status.Report
		require.NoError(t, json.Unmarshal([]byte(text), &got))
		require.Equal(t, is.Problems, got.Problems)
		require.NoError(t, server.Close())
	}
}
