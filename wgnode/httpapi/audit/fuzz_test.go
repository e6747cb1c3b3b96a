package audit_test

import (
	"bytes"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/wgnode/httpapi/audit"
)

// FuzzVerify verifies and opens a log whose one segment is any bytes. What Verify calls sound is opened as it is; what is opened
// has lost nothing but the end of a line that was never whole.
func FuzzVerify(f *testing.F) {
	dir := f.TempDir()
	l := open(f, dir, audit.Options{})
	require.NoError(f, l.Record(f.Context(), audit.Entry{Operation: "reload"}))
	require.NoError(f, l.Kill())
	whole := read(f, segments(f, dir)[0])
	f.Add(whole)
	f.Add(whole[:len(whole)-5])
	f.Add(bytes.Join(linesOf(f, segments(f, dir)[0])[1:], nil))
	f.Add(bytes.Replace(whole, []byte("sha256"), []byte("hmac-sha256"), 1))
	f.Add([]byte("{}\n"))
	f.Add([]byte(`,"hash":"0000000000000000000000000000000000000000000000000000000000000000"}` + "\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		dir := t.TempDir()
		path := filepath.Join(dir, "audit-0000000001.jsonl")
		write(t, path, data)
		write(t, filepath.Join(dir, "head"), []byte("00000000000000000000:0000000000000000000000000000000000000000000000000000000000000000\n"))
		r, err := audit.Verify(dir, audit.VerifyOptions{})
		l, bad := audit.Open(dir, audit.Options{})
		if err != nil {
			require.Error(t, bad)
			return
		}
		require.NoError(t, bad)
		require.NoError(t, l.Close())
		require.True(t, bytes.HasPrefix(read(t, path), data[:len(data)-int(r.Torn)]))
		if r.Sound() {
			verify(t, dir, audit.VerifyOptions{})
		}
	})
}
