package audit_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/wgnode/httpapi/audit"
	"github.com/waylume/waylume/wgnode/httpapi/auth"
)

func TestChangeIsOnTheDiskBeforeItBeginsAndBeforeItIsAnswered(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "audit")
	l := open(t, dir, audit.Options{})
	ctx := auth.NewContext(t.Context(), auth.Principal{Name: "backend", Method: "jwt", KeyID: "2026-11"})
	c, err := l.Begin(ctx, audit.Entry{Operation: "POST /api/v1/peers", Path: "/api/v1/peers", Source: "192.0.2.0/24", RequestID: "r1"})
	require.NoError(t, err)
	all := records(t, dir)
	require.Len(t, all, 3)
	require.Equal(t, audit.KindSegment, all[0].Kind)
	require.Equal(t, audit.KindOpen, all[1].Kind)
	require.Equal(t, os.Getpid(), all[1].Process)
	intent := all[2]
	require.Equal(t, audit.KindIntent, intent.Kind)
	require.Equal(t, c.Sequence(), intent.Sequence)
	require.Equal(t, &audit.Principal{Name: "backend", Method: "jwt", KeyID: "2026-11"}, intent.Principal)
	require.WithinDuration(t, time.Now(), intent.Time, time.Minute)

	c.AddSubject(audit.Subject{Kind: "peer", ID: "KEY"})
	c.Detail("name", "phone")
	require.NoError(t, c.End(ctx, audit.Result{Status: 201}))
	require.NoError(t, c.End(ctx, audit.Result{Status: 500}), "the second End does nothing")
	all = records(t, dir)
	require.Len(t, all, 4)
	result := all[3]
	require.Equal(t, audit.Record{
		Sequence: 4, Time: result.Time, Kind: audit.KindResult, Of: 3, Subjects: []audit.Subject{{Kind: "peer", ID: "KEY"}},
		Details: map[string]string{"name": "phone"}, Outcome: audit.Done, Status: 201, Previous: intent.Hash, Hash: result.Hash,
	}, result)
	require.Equal(t, audit.Head{Sequence: 4, Hash: result.Hash}, l.Head())
	require.NoError(t, l.Close())
	require.NoError(t, l.Close())
	_, err = l.Begin(ctx, audit.Entry{})
	require.ErrorIs(t, err, audit.ErrClosed)
	require.Equal(t, 5, verify(t, dir, audit.VerifyOptions{}).Records)
}

// TestHashesAreWhatTheDocumentationSays makes them anew with nothing but the documentation.
func TestHashesAreWhatTheDocumentationSays(t *testing.T) {
	for name, key := range map[string][]byte{"plain": nil, "keyed": bytes.Repeat([]byte{7}, 32)} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			l := open(t, dir, audit.Options{Key: key})
			require.NoError(t, l.Record(t.Context(), audit.Entry{Operation: "reload", Details: map[string]string{"a": "<&>\u2028\x00"}}))
			require.NoError(t, l.Close())
			previous := strings.Repeat("0", 64)
			for i, line := range linesOf(t, segments(t, dir)[0]) {
				body, rest, found := bytes.Cut(line, []byte(`,"hash":"`))
				require.True(t, found)
				h := sha256.New()
				if key != nil {
					h = hmac.New(sha256.New, key)
				}
				h.Write(body)
				hash := hex.EncodeToString(h.Sum(nil))
				require.Equal(t, hash, string(bytes.TrimSuffix(bytes.TrimSpace(rest), []byte(`"}`))), "line %d", i)
				require.True(t, bytes.HasSuffix(body, []byte(`,"prev":"`+previous+`"`)))
				previous = hash
			}
		})
	}
}

func TestIntentWithoutResultIsUnknownAndNoDamage(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, audit.Options{})
	_, err := l.Begin(t.Context(), audit.Entry{Operation: "reload"})
	require.NoError(t, err)
	r := verify(t, dir, audit.VerifyOptions{})
	require.Len(t, r.Unknown, 1)
	require.True(t, r.Unknown[0].UnderWay)
	require.NoError(t, l.Kill())
	l = open(t, dir, audit.Options{})
	require.Empty(t, l.Found())
	require.NoError(t, l.Close())
	r = verify(t, dir, audit.VerifyOptions{})
	require.Equal(t, []audit.Unknown{{Sequence: 3, Time: r.Unknown[0].Time, Operation: "reload"}}, r.Unknown)
}

func TestTornLineIsCutOffAndTold(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, open(t, dir, audit.Options{}).Close())
	path := segments(t, dir)[0]
	whole := read(t, path)
	write(t, path, append(whole, `{"seq":4,"ti`...))
	require.EqualValues(t, 12, verify(t, dir, audit.VerifyOptions{}).Torn)
	l := open(t, dir, audit.Options{})
	require.Equal(t, []string{"audit-0000000001.jsonl: 12 bytes of a line that was never whole were cut off"}, l.Found())
	require.NoError(t, l.Close())
	require.Len(t, segments(t, dir), 1)
	r := verify(t, dir, audit.VerifyOptions{})
	require.Len(t, r.Notes, 1)
	require.Contains(t, r.Notes[0], "12 bytes")
}

// A line that was on the disk once and is cut off now is no torn line.
func TestAcknowledgedLineThatIsCutOffIsDamage(t *testing.T) {
	for _, cut := range []int{1, 20, 200, 400} {
		dir := t.TempDir()
		require.NoError(t, open(t, dir, audit.Options{}).Close())
		path := segments(t, dir)[0]
		whole := read(t, path)
		write(t, path, whole[:len(whole)-cut])
		r, err := audit.Verify(dir, audit.VerifyOptions{})
		require.NoError(t, err)
		require.NotEmpty(t, r.Findings, "%d bytes cut off", cut)
		l := open(t, dir, audit.Options{})
		require.Contains(t, strings.Join(l.Found(), "\n"), "are missing at the end", "%d bytes cut off", cut)
		require.NoError(t, l.Close())
		require.Equal(t, whole[:len(whole)-cut], read(t, path), "what is damaged stays as it is")
		require.Len(t, segments(t, dir), 2)
		r, err = audit.Verify(dir, audit.VerifyOptions{})
		require.NoError(t, err)
		require.NotEmpty(t, r.Findings, "it is found later, too")
	}
}

func TestSecondLogIsRefused(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, audit.Options{})
	_, err := audit.Open(dir, audit.Options{})
	require.ErrorIs(t, err, audit.ErrLocked)
	require.ErrorContains(t, err, "stop the other process")
	require.NoError(t, l.Close())
	require.NoError(t, open(t, dir, audit.Options{}).Close())
}

func TestKeys(t *testing.T) {
	dir := t.TempDir()
	one, other := bytes.Repeat([]byte{1}, 32), bytes.Repeat([]byte{2}, 32)
	require.NoError(t, open(t, dir, audit.Options{}).Close())
	require.NoError(t, open(t, dir, audit.Options{Key: one}).Close())
	require.Len(t, segments(t, dir), 2, "a key begins another segment")
	for _, key := range [][]byte{nil, other} {
		_, err := audit.Open(dir, audit.Options{Key: key})
		require.ErrorIs(t, err, audit.ErrKey)
		_, err = audit.Verify(dir, audit.VerifyOptions{Key: key})
		require.ErrorIs(t, err, audit.ErrKey)
	}
	r := verify(t, dir, audit.VerifyOptions{Key: one})
	require.Equal(t, 1, r.Keyed)
	require.Equal(t, []string{"audit-0000000001.jsonl: was written without a key"}, r.Notes)

	path := filepath.Join(t.TempDir(), "key")
	write(t, path, []byte("AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=\n"))
	key, err := audit.ReadKey(path)
	require.NoError(t, err)
	require.Equal(t, one, key)
	require.NoError(t, os.Chmod(path, 0o640))
	_, err = audit.ReadKey(path)
	require.ErrorIs(t, err, audit.ErrKey)
	require.ErrorContains(t, err, "chmod 600")
	for _, bad := range []string{"", "c2hvcnQ=", "no base64", strings.Repeat("A", 4000)} {
		path := filepath.Join(t.TempDir(), "key")
		write(t, path, []byte(bad))
		_, err = audit.ReadKey(path)
		require.ErrorIs(t, err, audit.ErrKey, bad)
	}
}

func TestOptionsOutOfRange(t *testing.T) {
	_, err := audit.Open(t.TempDir(), audit.Options{Key: []byte("short"), Retention: time.Hour, SegmentAge: 1, SegmentSize: 1})
	for _, name := range []string{"Key", "Retention", "SegmentAge", "SegmentSize"} {
		require.ErrorContains(t, err, name)
	}
	_, err = audit.ParseHead("12:xyz")
	require.ErrorIs(t, err, audit.ErrInvalid)
	h, err := audit.ParseHead("12:" + strings.Repeat("ab", 32))
	require.NoError(t, err)
	require.Equal(t, "12:"+strings.Repeat("ab", 32), h.String())
}
