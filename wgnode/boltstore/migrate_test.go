package boltstore

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"

	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/wgnodetest/storetest"
)

// firstFile unpacks a file of the first version of the schema, as a program of that version wrote it: with the sequence 7, an
// account and a peer.
func firstFile(t *testing.T) string {
	t.Helper()
	packed, err := os.ReadFile(filepath.Join("testdata", "schema-1.db.gz"))
	require.NoError(t, err)
	unpacked, err := gzip.NewReader(bytes.NewReader(packed))
	require.NoError(t, err)
	data, err := io.ReadAll(unpacked)
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "state.db")
	require.NoError(t, os.WriteFile(path, data, fileMode))
	return path
}

func firstContents() map[storetest.ID]string {
	return map[storetest.ID]string{
		{Kind: wgnode.RecordNode, Key: "sequence"}:  `{"v":1,"last":7}`,
		{Kind: wgnode.RecordAccount, Key: "family"}: `{"v":1}`,
		{Kind: wgnode.RecordPeer, Key: "tablet"}:    `{"v":1,"name":"tablet"}`,
	}
}

func requireContents(t *testing.T, path string, l layout, want map[storetest.ID]string) {
	t.Helper()
	store, err := openAs(path, Options{}, l)
	require.NoError(t, err)
	got, err := storetest.Contents(t.Context(), store)
	require.NoError(t, err)
	require.Equal(t, want, got)
	require.NoError(t, store.Close())
}

func requireSchema(t *testing.T, path string, want uint64) {
	t.Helper()
	a, err := inspect(path, want)
	require.NoError(t, err)
	require.NoError(t, a.err())
	require.Equal(t, want, a.schema)
}

func TestFirstSchemaIsRead(t *testing.T) {
	path := firstFile(t)
	requireContents(t, path, currentLayout(), firstContents())
	requireSchema(t, path, currentLayout().version())
}

// rename is a step that gives an account another ID.
func rename(from, to string) step {
	return func(tx *bolt.Tx) error {
		accounts := tx.Bucket(recordsBucket()).Bucket([]byte(wgnode.RecordAccount))
		r, err := open([]byte(wgnode.RecordAccount), []byte(from), accounts.Get([]byte(from)))
		if err != nil {
			return err
		}
		r.Key = to
		return errors.Join(accounts.Delete([]byte(from)), accounts.Put([]byte(to), seal(r)))
	}
}

// Steps run in order and once, from whichever version a file has; a file is then newer than a program without them knows.
func TestMigration(t *testing.T) {
	path := firstFile(t)
	steps := []step{rename("family", "second"), rename("second", "third"), rename("third", "fourth")}
	want := firstContents()
	was := "family"
	for n, name := range []string{"family", "second", "third", "fourth"} {
		delete(want, storetest.ID{Kind: wgnode.RecordAccount, Key: was})
		want[storetest.ID{Kind: wgnode.RecordAccount, Key: name}] = `{"v":1}`
		was = name
		if n == 2 {
			continue // the file goes two versions at once
		}
		for range 2 {
			requireContents(t, path, layout{steps[:n]}, want)
			requireSchema(t, path, uint64(1+n))
		}
	}
	for n := range 3 {
		before, err := os.ReadFile(path)
		require.NoError(t, err)
		_, err = openAs(path, Options{}, layout{steps[:n]})
		require.ErrorIs(t, err, ErrNewer)
		require.ErrorContains(t, err, fmt.Sprintf("it has schema version 4, and this program knows none after %d: run the newer", n+1))
		after, err := os.ReadFile(path)
		require.NoError(t, err)
		require.True(t, bytes.Equal(before, after))
	}
	report, err := Check(path)
	require.NoError(t, err)
	require.ErrorIs(t, report.Err(), ErrNewer)
	require.Contains(t, report.Advice()[0], "A newer program wrote this file")

	fresh := filepath.Join(t.TempDir(), "state.db")
	requireContents(t, fresh, layout{steps}, map[storetest.ID]string{})
	requireSchema(t, fresh, 4)
}

// A migration that fails, or panics, leaves the file as it was.
func TestFailedMigration(t *testing.T) {
	failed := errors.New("as asked")
	for name, fail := range map[string]step{
		"error": func(*bolt.Tx) error { return failed },
		"panic": func(*bolt.Tx) error { panic(failed) },
	} {
		t.Run(name, func(t *testing.T) {
			path := firstFile(t)
			_, err := openAs(path, Options{}, layout{[]step{rename("family", "second"), fail}})
			require.ErrorContains(t, err, failed.Error())
			requireContents(t, path, currentLayout(), firstContents())
			requireSchema(t, path, 1)
		})
	}
}

func TestSchemaIsNoNumber(t *testing.T) {
	for _, version := range []string{"", "0", "one", "-1"} {
		path := firstFile(t)
		db, err := bolt.Open(path, fileMode, nil)
		require.NoError(t, err)
		require.NoError(t, db.Update(func(tx *bolt.Tx) error {
			return tx.Bucket(metaBucket()).Put(schemaKey(), []byte(version))
		}))
		require.NoError(t, db.Close())
		_, err = Open(path, Options{})
		require.ErrorIs(t, err, ErrDamaged, version)
	}
}
