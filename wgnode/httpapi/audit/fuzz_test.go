package audit_test

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/wgnode/httpapi/audit"
)

// seed adds a log's only segment, whole and in several ways not.
func seed(f *testing.F) {
	f.Helper()
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
	f.Add([]byte(`,"hash":"` + strings.Repeat("0", 64) + `"}` + "\n"))
}

// only makes a log whose one segment is any bytes, and returns its path.
func only(t *testing.T, data []byte) (dir, path string) {
	dir = t.TempDir()
	path = filepath.Join(dir, "audit-0000000001.jsonl")
	write(t, path, data)
	write(t, filepath.Join(dir, "head"), []byte("00000000000000000000:"+strings.Repeat("0", 64)+"\n"))
	return dir, path
}

// FuzzVerify verifies and reads any bytes. What Verify calls sound has no damaged line, and as many as it says.
func FuzzVerify(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		dir, _ := only(t, data)
		r, err := audit.Verify(dir, audit.VerifyOptions{})
		n := 0
		bad := audit.Read(dir, func(audit.Record) error {
			n++
			return nil
		})
		if err == nil && r.Sound() {
			require.NoError(t, bad)
			require.Equal(t, r.Records, n)
			require.Equal(t, r.Records, bytes.Count(data, []byte("\n")))
		}
	})
}

// FuzzOpen opens any bytes: nothing is lost but the end of a line that was never whole, and what was sound stays so.
func FuzzOpen(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		dir, path := only(t, data)
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
