package durable_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/internal/durable"
)

func TestLink(t *testing.T) {
	dir := t.TempDir()
	file, name := filepath.Join(dir, "file"), filepath.Join(dir, "name")
	require.NoError(t, os.WriteFile(file, []byte("what is in it"), 0o600))
	require.NoError(t, durable.Link(file, name))
	require.NoError(t, durable.SyncDir(dir))
	text, err := os.ReadFile(name)
	require.NoError(t, err)
	require.Equal(t, "what is in it", string(text))

	other := filepath.Join(dir, "other")
	require.NoError(t, os.WriteFile(other, []byte("something else"), 0o600))
	require.ErrorIs(t, durable.Link(other, name), fs.ErrExist)
	text, err = os.ReadFile(name)
	require.NoError(t, err)
	require.Equal(t, "what is in it", string(text), "what has the name keeps it")

	require.ErrorIs(t, durable.Link(filepath.Join(dir, "absent"), filepath.Join(dir, "new")), fs.ErrNotExist)
	require.ErrorIs(t, durable.SyncDir(filepath.Join(dir, "absent")), fs.ErrNotExist)
}

func TestSweep(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "name")
	left, err := os.CreateTemp(dir, durable.Prefix(name)+"*")
	require.NoError(t, err)
	require.NoError(t, left.Close())
	others := []string{name, filepath.Join(dir, durable.Prefix("other")+"1")}
	for _, other := range others {
		require.NoError(t, os.WriteFile(other, nil, 0o600))
	}
	require.NoError(t, durable.Sweep(name))
	require.NoFileExists(t, left.Name())
	for _, other := range others {
		require.FileExists(t, other)
	}
	require.ErrorIs(t, durable.Sweep(filepath.Join(dir, "absent", "name")), fs.ErrNotExist)
}
