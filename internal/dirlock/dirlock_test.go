package dirlock_test

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/internal/dirlock"
)

func TestLock(t *testing.T) {
	dir, locked := t.TempDir(), errors.New("somebody writes there")
	lock, err := dirlock.Lock(dir, locked)
	require.NoError(t, err)
	_, err = dirlock.Lock(dir, locked)
	require.ErrorIs(t, err, locked)
	require.ErrorContains(t, err, "by process "+strconv.Itoa(os.Getpid()))
	require.NoError(t, lock.Close())
	lock, err = dirlock.Lock(dir, locked)
	require.NoError(t, err, "whoever has closed it, or was killed, has it no more")
	require.NoError(t, lock.Close())

	_, err = dirlock.Lock(filepath.Join(dir, "absent"), locked)
	require.ErrorIs(t, err, os.ErrNotExist)
}
