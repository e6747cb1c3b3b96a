package boltkeys

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/wgnode/httpapi/idempotency"
)

func put(id byte) idempotency.Change {
	return idempotency.Change{Put: []idempotency.Put{{Entry: idempotency.Entry{ID: idempotency.ID{id}}, Answer: []byte{id}}}}
}

// After a commit that failed the file is opened anew, and has what was acknowledged before.
func TestHeal(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.db")
	s, err := Open(path, Options{Strict: true})
	require.NoError(t, err)
	require.NoError(t, s.Commit(t.Context(), put(1)))
	former, secret := s.db, s.secret
	s.suspect = true
	require.NoError(t, s.Commit(t.Context(), put(3)))
	require.False(t, s.suspect)
	require.NotSame(t, former, s.db)
	require.Equal(t, secret, s.Secret())
	for id, want := range map[byte]error{1: nil, 2: idempotency.ErrNotFound, 3: nil} {
		_, err := s.Answer(t.Context(), idempotency.ID{id})
		require.ErrorIs(t, err, want)
	}
	require.NoError(t, s.Close())
}

// A file that has taken the place of the store's is not gone on with.
func TestHealAnotherFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.db")
	s, err := Open(path, Options{})
	require.NoError(t, err)
	s.suspect = true
	require.NoError(t, os.Rename(path, path+".moved"))
	for range 2 {
		require.ErrorContains(t, s.Commit(t.Context(), put(1)), "another file has taken its place: start the node again")
	}
	_, err = s.Answer(t.Context(), idempotency.ID{1})
	require.ErrorContains(t, err, "another file has taken its place")
	require.NoError(t, s.Close())
}
