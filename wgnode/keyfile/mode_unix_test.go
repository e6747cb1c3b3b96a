//go:build unix

package keyfile

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestExposed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "node.key")
	require.NoError(t, Create(path, newKey(t)))
	for _, exposed := range []fs.FileMode{0o640, 0o604, 0o620, 0o602, 0o610, 0o644, 0o777} {
		require.NoError(t, os.Chmod(path, exposed))
		_, err := Read(path)
		require.ErrorIs(t, err, ErrExposed, exposed)
		require.ErrorContains(t, err, fmt.Sprintf("its mode is %04o", exposed))
		require.ErrorContains(t, err, "chmod 600 "+path)
	}
	through := filepath.Join(t.TempDir(), "link")
	require.NoError(t, os.Symlink(path, through))
	_, err := Read(through)
	require.ErrorIs(t, err, ErrExposed, "what a link leads to counts")
	require.NoError(t, os.Chmod(path, 0o600))
	_, err = Read(through)
	require.NoError(t, err)
	next := newKey(t)
	require.NoError(t, Replace(through, next))
	alone(t, path)
	alone(t, through)
	for _, name := range []string{path, through} {
		got, err := Read(name)
		require.NoError(t, err)
		require.Equal(t, next, got, "the link stays, and leads to the key")
	}

	pipe := filepath.Join(t.TempDir(), "pipe")
	require.NoError(t, syscall.Mkfifo(pipe, 0o600))
	_, err = Read(pipe)
	require.ErrorContains(t, err, "it is no file but p")
}
