package keyfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

func newKey(t testing.TB) wgtypes.Key {
	t.Helper()
	key, err := wgtypes.GeneratePrivateKey()
	require.NoError(t, err)
	return key
}

// alone checks that a directory has one file, and nothing half-made.
func alone(t testing.TB, path string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Len(t, entries, 1)
	require.Equal(t, filepath.Base(path), entries[0].Name())
}

func TestCreateAndReplace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "node.key")
	_, err := Read(path)
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.EqualError(t, err, "read key file "+path+": "+syscall.ENOENT.Error())

	key, next := newKey(t), newKey(t)
	require.NoError(t, Create(path, key))
	alone(t, path)
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, fs.FileMode(0o600), info.Mode())
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, key.String()+"\n", string(text), "as 'wg genkey' writes it")

	require.ErrorIs(t, Create(path, next), fs.ErrExist)
	got, err := Read(path)
	require.NoError(t, err)
	require.Equal(t, key, got, "a file that is there is not touched")

	require.NoError(t, Replace(path, next))
	alone(t, path)
	got, err = Read(path)
	require.NoError(t, err)
	require.Equal(t, next, got)
	require.ErrorIs(t, Replace(path, wgtypes.Key{}), ErrNoKey)
	got, err = Read(path)
	require.NoError(t, err)
	require.Equal(t, next, got)

	var failed *Error
	require.ErrorAs(t, Create(filepath.Join(t.TempDir(), "none", "node.key"), key), &failed)
	require.Equal(t, "create", failed.Op)
	require.ErrorIs(t, failed, fs.ErrNotExist)
}

func TestRefused(t *testing.T) {
	key := newKey(t).String()
	for name, text := range map[string]string{
		"it is empty":                   "",
		"is empty: put back":            " \n\t\n",
		"all zeros":                     wgtypes.Key{}.String() + "\n",
		"one line of 44 characters":     key[:43],
		"as 'wg genkey' writes it":      key + key,
		"in base64":                     strings.Repeat("00", 32),
		"must have one line":            key + "\n" + key + "\n",
		"it must have one line of 44":   "[Interface]\nPrivateKey = " + key + "\n",
		"it is longer than 1024 bytes":  key + strings.Repeat("\n", 1024),
		"must have one line of 44 char": key[:42] + "!=",
	} {
		path := filepath.Join(t.TempDir(), "node.key")
		require.NoError(t, os.WriteFile(path, []byte(text), mode))
		_, err := Read(path)
		require.ErrorIs(t, err, ErrNoKey, name)
		require.ErrorContains(t, err, name)
		require.ErrorContains(t, err, path)
		require.NotContains(t, err.Error(), key[:20], "an error has nothing of a key")
	}
	_, err := Read(t.TempDir())
	require.ErrorContains(t, err, "it is no file but d")

	for _, around := range []string{"", "\n", "\r\n", " \n\n"} {
		path := filepath.Join(t.TempDir(), "node.key")
		require.NoError(t, os.WriteFile(path, []byte(around+key+around), 0o400))
		got, err := Read(path)
		require.NoError(t, err)
		require.Equal(t, key, got.String())
	}
}

// TestLeftBehind has the files of processes that were killed half-way.
func TestLeftBehind(t *testing.T) {
	path := filepath.Join(t.TempDir(), "node.key")
	for _, name := range []string{"1", "2"} {
		require.NoError(t, os.WriteFile(filepath.Join(filepath.Dir(path), ".node.key.new-"+name), []byte(newKey(t).String()), mode))
	}
	_, err := Read(path)
	require.ErrorIs(t, err, fs.ErrNotExist, "a file that is not whole is none")
	require.NoError(t, Create(path, newKey(t)))
	alone(t, path)
}

// TestNameFails has the file refused its name: the one that was there stays, and nothing else does.
func TestNameFails(t *testing.T) {
	path := filepath.Join(t.TempDir(), "node.key")
	key := newKey(t)
	require.NoError(t, Create(path, key))
	broken := errors.New("no names today")
	require.ErrorIs(t, write(path, newKey(t), func(string, string) error { return broken }), broken)
	alone(t, path)
	got, err := Read(path)
	require.NoError(t, err)
	require.Equal(t, key, got)
}

// TestReplaceUnderReaders replaces a file while others read it: what they see is always one of the keys.
func TestReplaceUnderReaders(t *testing.T) {
	path := filepath.Join(t.TempDir(), "node.key")
	keys := []wgtypes.Key{newKey(t), newKey(t)}
	require.NoError(t, Create(path, keys[0]))
	stop := make(chan struct{})
	seen := make(chan error, 4)
	var readers sync.WaitGroup
	for range cap(seen) {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if key, err := Read(path); err != nil || key != keys[0] && key != keys[1] {
					seen <- errors.Join(errors.New("neither key"), err)
					return
				}
			}
		})
	}
	for i := range 100 {
		require.NoError(t, Replace(path, keys[i%2]))
	}
	close(stop)
	readers.Wait()
	require.Empty(t, seen)
	alone(t, path)
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("kJ1VrZ0mSx0m2p5cGzVb1yqv2m8xq3V0yJ3n8b5lXkY=\n"))
	f.Add([]byte(""))
	f.Add([]byte("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="))
	f.Add([]byte("kJ1VrZ0mSx0m2p5cGzVb1yqv2m8xq3V0\r\nyJ3n8b5lXkY="))
	f.Fuzz(func(t *testing.T, text []byte) {
		key, err := parse(text)
		if err != nil {
			require.ErrorIs(t, err, ErrNoKey)
			require.Zero(t, key)
			return
		}
		require.NotZero(t, key)
		require.Equal(t, key.String(), strings.TrimSpace(string(text)))
	})
}

func TestRemove(t *testing.T) {
	path, key := filepath.Join(t.TempDir(), "node.key.former"), newKey(t)
	gone := func() {
		t.Helper()
		entries, err := os.ReadDir(filepath.Dir(path))
		require.NoError(t, err)
		require.Empty(t, entries)
	}
	require.NoError(t, Remove(path, key.PublicKey()), "it is not there")
	require.NoError(t, Remove(filepath.Join(path, "none", "key"), key.PublicKey()))

	require.NoError(t, Create(path, key))
	require.NoError(t, os.WriteFile(filepath.Join(filepath.Dir(path), ".node.key.former.new-1"), []byte(key.String()), mode))
	require.NoError(t, Remove(path, key.PublicKey()))
	gone()
	for _, text := range []string{"", key.String()[:20], key.String() + "\n"} {
		require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
		require.NoError(t, Remove(path, key.PublicKey()), "damaged or exposed, it goes all the same")
		gone()
	}

	other := newKey(t)
	require.NoError(t, Create(path, other))
	err := Remove(path, key.PublicKey())
	require.ErrorIs(t, err, ErrOtherKey)
	require.EqualError(t, err, "remove key file "+path+": it holds another key, that of "+other.PublicKey().String())
	alone(t, path)
	require.ErrorContains(t, Remove(t.TempDir(), key.PublicKey()), "it is no file but d")

	if runtime.GOOS == "windows" { // where a link takes a privilege
		return
	}
	link := filepath.Join(t.TempDir(), "link")
	require.NoError(t, os.Symlink(path, link))
	require.ErrorIs(t, Remove(link, key.PublicKey()), ErrOtherKey)
	alone(t, path)
	require.NoError(t, Remove(link, other.PublicKey()))
	gone()
	require.NoFileExists(t, link)
	require.NoError(t, os.Symlink(path, link))
	require.NoError(t, Remove(link, other.PublicKey()), "it leads nowhere")
	_, err = os.Lstat(link)
	require.ErrorIs(t, err, fs.ErrNotExist)
}
