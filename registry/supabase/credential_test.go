package supabase

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/registry/supabase/supabasetest"
)

const aKey = "XQKaFQDOMbuzW7Jek_5QKMAmW9BzOMyriSSKay3K1dE"

// aDocument is a file such as an enrollment writes, and a rotation that is under way.
const aDocument = `{
  "version": 1,
  "audience": "waylume-fleet",
  "urls": ["https://project.supabase.co/functions/v1"],
  "server": "5f1d7a1c-3b0e-4d35-9a57-0c1d3f2b8e64",
  "name": "fra-1",
  "current": {"id": "8a0f3f8e-60d5-4d0b-8d8a-7a8f0e9c1b22", "private_key": "` + aKey + `", "created": "2026-09-21T14:13:20Z"},
  "next": {"private_key": "` + aKey + `", "created": "2026-09-22T14:13:20Z"},
  "former": {"id": "former", "private_key": "` + aKey + `", "created": "2026-09-20T14:13:20Z"}
}
`

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "fleet.json")
	require.NoError(t, os.WriteFile(path, []byte(text), fileMode))
	return path
}

func TestDocument(t *testing.T) {
	doc, _, err := readDocument(write(t, aDocument))
	require.NoError(t, err)
	text, err := doc.encode()
	require.NoError(t, err)
	again, err := parseDocument(text)
	require.NoError(t, err)
	require.Equal(t, doc, again)
	require.NotContains(t, doc.Current.Seed.String()+doc.Current.Seed.GoString(), aKey)

	swap := func(from, to string) string {
		require.Contains(t, aDocument, from)
		return strings.Replace(aDocument, from, to, 1)
	}
	for want, text := range map[string]string{
		"it is empty":             " \n",
		"not what an enrollment":  "a private key: " + aKey,
		"what an enrollment writ": aDocument[:len(aDocument)/2],
		"put it back from":        aDocument + "{}",
		"or delete it":            swap(`"name"`, `"nom"`),
		"a later one has written": swap(`"version": 1`, `"version": 2`),
		"version is 0, not 1":     swap(`"version": 1`, `"version": 0`),
		"it has 0 URLs":           swap(`"https://project.supabase.co/functions/v1"`, ``),
		"not where functions are": swap(`https://project`, `ftp://project`),
		"server:":                 swap(`5f1d7a1c`, `5F1D7A1C`),
		"its audience has 0":      swap(`waylume-fleet`, ``),
		"current: a credential":   swap(`"id": "8a0f3f8e-60d5-4d0b-8d8a-7a8f0e9c1b22", `, ``),
		"next: it has an id":      swap(`"next": {`, `"next": {"id": "x", `),
		"former: a credential":    swap(`"former", "private`, `"a b", "private`),
		"it has no key":           strings.Split(swap(`"fra-1",`, `"fra-1"}`), "\n  \"current\"")[0],
		"it is pending and":       swap(`"name": "fra-1"`, `"pending": {"private_key": "`+aKey+`", "created": "2026-09-22T14:13:20Z", "token_sha256": ""}`),
		"it is not what an enrol": swap(aKey, aKey[1:]),
		"more than 65536 bytes":   aDocument + strings.Repeat(" ", maxDocument),
	} {
		path := write(t, text)
		_, err := Open(Config{CredentialFile: path})
		require.ErrorIs(t, err, ErrCorrupt, want)
		require.ErrorContains(t, err, want)
		require.ErrorContains(t, err, path)
		require.NotContains(t, err.Error(), aKey[:20], "an error has nothing of a key")
	}
	_, err = Open(Config{CredentialFile: t.TempDir()})
	require.ErrorIs(t, err, ErrCorrupt)
}

func TestExposed(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("a mode says nothing there")
	}
	path := write(t, aDocument)
	for _, exposed := range []fs.FileMode{0o640, 0o604, 0o620, 0o644, 0o777} {
		require.NoError(t, os.Chmod(path, exposed))
		_, err := Open(Config{CredentialFile: path})
		require.ErrorIs(t, err, ErrExposed)
		require.ErrorContains(t, err, "chmod 600 "+path)
		_, err = Enroll(t.Context(), EnrollConfig{
			Config: Config{CredentialFile: path, URLs: []string{"https://fleet.example.com"}}, Token: strings.Repeat("A", 43),
		})
		require.ErrorIs(t, err, ErrExposed)
	}
	require.NoError(t, os.Chmod(path, 0o600))
	c, err := Open(Config{CredentialFile: path})
	require.NoError(t, err)
	require.True(t, c.Info().Rotating)
	require.NoError(t, c.Close())
	require.NoError(t, c.Close())
}

func TestOtherFleet(t *testing.T) {
	path := write(t, aDocument)
	_, err := Open(Config{CredentialFile: path, Audience: "staging"})
	require.ErrorIs(t, err, ErrOtherFleet)
	require.ErrorContains(t, err, `its audience is "waylume-fleet", and the configuration's is "staging"`)
	_, err = Open(Config{CredentialFile: path, URLs: []string{"https://other.supabase.co/functions/v1"}})
	require.ErrorIs(t, err, ErrOtherFleet)
	require.ErrorContains(t, err, "if the fleet has moved")
	for _, urls := range [][]string{nil, {"https://other.supabase.co/functions/v1", "https://project.supabase.co/functions/v1/"}} {
		c, err := Open(Config{CredentialFile: path, URLs: urls, Audience: "waylume-fleet"})
		require.NoError(t, err)
		require.Len(t, c.Info().URLs, max(1, len(urls)))
		require.NoError(t, c.Close())
	}

	// A key that was made for one fleet is not sent to another.
	s := newSite(t)
	cfg := s.config()
	s.fails(lose)
	_, err = Enroll(t.Context(), EnrollConfig{Config: cfg, Token: s.fleet.NewToken(supabasetest.Token{}), Registration: registration("fra-1")})
	require.Error(t, err)
	cfg.URLs = []string{"https://other.supabase.co/functions/v1"}
	_, err = Enroll(t.Context(), EnrollConfig{Config: cfg, Token: s.fleet.NewToken(supabasetest.Token{}), Registration: registration("fra-1")})
	require.ErrorIs(t, err, ErrOtherFleet)
	require.ErrorContains(t, err, "or delete it")
}

// A file is what it was or what it shall be, wherever writing it fails; and a link stays one.
func TestWriteFile(t *testing.T) {
	path := write(t, "before")
	broken := errors.New("no names today")
	require.ErrorIs(t, replaceFile(path, []byte("after"), func(string, string) error { return broken }), broken)
	require.Equal(t, "before", readText(t, path))
	entries, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Len(t, entries, 1)

	require.NoError(t, os.WriteFile(filepath.Join(filepath.Dir(path), ".fleet.json.new-1"), []byte("left by a kill"), 0o600))
	link := filepath.Join(t.TempDir(), "link")
	require.NoError(t, os.Symlink(path, link))
	require.NoError(t, writeFile(link, []byte("after")))
	require.Equal(t, "after", readText(t, path))
	entries, err = os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Len(t, entries, 1)

	err = writeFile(filepath.Join(t.TempDir(), "none", "fleet.json"), nil)
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.ErrorIs(t, err, syscall.ENOENT)
}
