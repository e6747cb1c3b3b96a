package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/wgnode/httpapi/audit"
	"github.com/waylume/waylume/wgnode/httpapi/auth"
)

// A log that a key has been used for is verified, shown, and tampered with.
func TestAudit(t *testing.T) {
	dir := t.TempDir()
	keyFile := filepath.Join(t.TempDir(), "key")
	require.NoError(t, os.WriteFile(keyFile, []byte("AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE="), 0o600))
	log, err := audit.Open(dir, audit.Options{Key: bytes.Repeat([]byte{1}, 32)})
	require.NoError(t, err)
	entry := audit.Entry{
		Operation: "POST /api/v1/peers", Principal: auth.Principal{Name: "back\x1b[31mend", Method: "jwt", KeyID: "k1"},
		Source: "192.0.2.0/24", RequestID: "r1", Details: map[string]string{"name": "phone"},
	}
	change, err := log.Begin(t.Context(), entry)
	require.NoError(t, err)
	change.AddSubject(audit.Subject{Kind: "peer", ID: "KEY"})
	require.NoError(t, change.End(t.Context(), audit.Result{Status: 201}))
	_, err = log.Begin(t.Context(), audit.Entry{Operation: "reload"})
	require.NoError(t, err)
	head := log.Head()
	require.NoError(t, log.Close())

	status, _, stderr := command(t.Context(), "audit", "verify", dir)
	require.Equal(t, exitFailed, status)
	require.Contains(t, stderr, "Name its file with --key-file")
	verify := []string{"audit", "verify", dir, "--key-file", keyFile, "--head", head.String()}
	status, stdout, stderr := command(t.Context(), verify...)
	require.Equal(t, exitOK, status, stderr)
	require.Contains(t, stdout, "6 records in 1 segments")
	require.Contains(t, stdout, "reload: outcome unknown\n")
	require.Contains(t, stdout, "The log is as it was written. Its head is 6:")

	status, stdout, stderr = command(t.Context(), "audit", "show", dir)
	require.Equal(t, exitOK, status, stderr)
	require.Contains(t, stdout, `  done     201  POST /api/v1/peers  peer="KEY"  name="phone"  by "back\x1b[31mend" (jwt k1)  from 192.0.2.0/24  request r1`)
	require.Contains(t, stdout, "  unknown  reload\n")
	require.NotContains(t, stdout, "\x1b")
	status, stdout, _ = command(t.Context(), "audit", "show", dir, "--json")
	require.Equal(t, exitOK, status)
	lines := strings.Split(strings.TrimSpace(stdout), "\n")
	require.Len(t, lines, 6)
	var record map[string]any
	require.NoError(t, json.Unmarshal([]byte(lines[4]), &record))
	require.Equal(t, head.Hash, record["hash"])
	status, stdout, _ = command(t.Context(), "audit", "show", dir, "--since", "2100-01-01")
	require.Equal(t, exitOK, status)
	require.Empty(t, stdout)

	segment := filepath.Join(dir, "audit-0000000001.jsonl")
	data, err := os.ReadFile(segment)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(segment, bytes.Replace(data, []byte("phone"), []byte("pwned"), 1), 0o600))
	status, stdout, _ = command(t.Context(), verify...)
	require.Equal(t, exitFailed, status)
	require.Contains(t, stdout, "Damaged: audit-0000000001.jsonl: line 3 is not what was written: its hash does not fit\n")
	require.Contains(t, stdout, "The log is NOT as it was written.")
	status, stdout, _ = command(t.Context(), append(verify, "--json")...)
	require.Equal(t, exitFailed, status)
	var verdict struct {
		Sound    bool
		Findings []audit.Finding
	}
	require.NoError(t, json.Unmarshal([]byte(stdout), &verdict))
	require.False(t, verdict.Sound)
	require.Equal(t, 3, verdict.Findings[0].Line)

	for _, wrong := range [][]string{{"verify"}, {"verify", dir, "--head", "x"}, {"show", dir, "--since", "noon"}, {}} {
		status, _, stderr = command(t.Context(), append([]string{"audit"}, wrong...)...)
		require.Equal(t, exitUsage, status, "%v: %s", wrong, stderr)
	}
}
