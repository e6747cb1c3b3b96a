package boltstore_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/boltstore"
	"github.com/waylume/waylume/wgnode/wgnodetest/storetest"
)

func TestCheckOfSoundFile(t *testing.T) {
	s := makeSample(t, 12, true)
	path := newPath(t)
	require.NoError(t, os.WriteFile(path, s.data, 0o640))
	before, err := os.Stat(path)
	require.NoError(t, err)
	report, err := boltstore.Check(path)
	require.NoError(t, err)
	require.NoError(t, report.Err())
	require.Empty(t, report.Problems)
	require.Empty(t, report.Advice())
	require.Equal(t, int64(len(s.data)), report.Size)
	require.Equal(t, uint64(len(s.data)/report.PageSize), report.Pages)
	require.Zero(t, report.LostPages)
	require.Equal(t, uint64(1), report.Schema)
	require.Equal(t, uint64(26), report.Records)
	require.Equal(t, uint64(26), report.Readable())
	require.Equal(t, []boltstore.KindReport{
		{Kind: wgnode.RecordAccount, Records: 1, Bytes: uint64(len("family{}"))},
		{Kind: wgnode.RecordNode, Records: 1, Bytes: uint64(len("sequence42"))},
		{Kind: wgnode.RecordPeer, Records: 12, Bytes: 12 * (9 + 600)},
		{Kind: wgnode.RecordPeerUsage, Records: 12, Bytes: 12 * (9 + 100)},
	}, report.Kinds)
	after, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, before.ModTime(), after.ModTime())
	require.Equal(t, before.Mode(), after.Mode())
}

func TestCheckOfDamagedRecords(t *testing.T) {
	s := makeSample(t, 12, true)
	data := regexp.MustCompile(`(?s)(peer-0003.{1,4}d)efin`).ReplaceAll(s.data, []byte("${1}Efin")) // after the key its checksum
	path := newPath(t)
	require.NoError(t, os.WriteFile(path, data, 0o600))
	report, err := boltstore.Check(path)
	require.NoError(t, err)
	require.ErrorIs(t, report.Err(), boltstore.ErrDamaged)
	require.Equal(t, []string{`the checksum of peer "peer-0003" is wrong`}, report.Problems)
	require.Equal(t, uint64(25), report.Readable())
	require.Equal(t, boltstore.KindReport{Kind: wgnode.RecordPeer, Records: 11, Damaged: 1, Bytes: 11 * 609}, report.Kinds[2])
	advice := strings.Join(report.Advice(), " ")
	require.Contains(t, advice, "25 of 26 records can still be read: 1 of kind account, 1 of kind node, 11 of kind peer, 12 of kind peer-usage.")
	require.Contains(t, advice, "Restore the latest backup")
}

func TestCheckCannotLook(t *testing.T) {
	path := newPath(t)
	_, err := boltstore.Check(path)
	require.ErrorIs(t, err, os.ErrNotExist)
	open(t, path)
	_, err = boltstore.Check(path)
	require.ErrorIs(t, err, boltstore.ErrLocked)
	require.ErrorContains(t, err, path)
}

func TestRestore(t *testing.T) {
	dir := t.TempDir()
	state, backup := filepath.Join(dir, "state.db"), filepath.Join(dir, "backup.db")
	store := open(t, state)
	commitNumbers(t, store, 1, 5)
	_, err := store.Backup(t.Context(), backup, boltstore.BackupOptions{})
	require.NoError(t, err)
	commitNumbers(t, store, 6, 7)

	_, err = boltstore.Restore(t.Context(), backup, state, boltstore.RestoreOptions{})
	require.ErrorIs(t, err, boltstore.ErrLocked)
	require.NoError(t, store.Close())
	require.NoError(t, os.Truncate(state, 20_000))

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = boltstore.Restore(ctx, backup, state, boltstore.RestoreOptions{})
	require.ErrorIs(t, err, context.Canceled)
	_, err = boltstore.Restore(t.Context(), state, backup, boltstore.RestoreOptions{AcceptOlder: true})
	require.ErrorIs(t, err, boltstore.ErrDamaged, "what is damaged is no backup")
	requireOnly(t, dir, "state.db", "backup.db")
	refuse(t, state, boltstore.ErrDamaged)

	restored, err := boltstore.Restore(t.Context(), backup, state, boltstore.RestoreOptions{})
	require.NoError(t, err)
	require.Equal(t, state, restored.Report.Path)
	require.NoError(t, restored.Report.Err())
	require.True(t, strings.HasPrefix(restored.Aside, state+".before-"), restored.Aside)
	info, err := os.Stat(restored.Aside)
	require.NoError(t, err)
	require.Equal(t, int64(20_000), info.Size())
	requireContents(t, state, afterNumber(5))
	requireOnly(t, dir, "state.db", "backup.db", filepath.Base(restored.Aside))

	fresh := filepath.Join(t.TempDir(), "state.db")
	restored, err = boltstore.Restore(t.Context(), backup, fresh, boltstore.RestoreOptions{})
	require.NoError(t, err)
	require.Empty(t, restored.Aside)
	requireContents(t, fresh, afterNumber(5))
}

// One root page that is damaged may be that of the last commit: a person says whether the other will do.
func TestOlderRoot(t *testing.T) {
	path := newPath(t)
	store := open(t, path)
	commitNumbers(t, store, 1, 8)
	require.NoError(t, store.Close())
	sound, err := os.ReadFile(path)
	require.NoError(t, err)
	for root := range 2 {
		data := bytes.Clone(sound)
		data[root*os.Getpagesize()+40] ^= 0x10
		require.NoError(t, os.WriteFile(path, data, 0o600))
		require.Contains(t, refuse(t, path, boltstore.ErrDamaged).Error(), "the other root page is sound")
		report, err := boltstore.Check(path)
		require.NoError(t, err)
		require.True(t, report.OlderSound)
		require.ErrorIs(t, report.Err(), boltstore.ErrDamaged)
		require.Contains(t, strings.Join(report.Advice(), " "), "--accept-older")
		_, err = boltstore.Restore(t.Context(), path, path, boltstore.RestoreOptions{})
		require.ErrorIs(t, err, boltstore.ErrDamaged)

		restored, err := boltstore.Restore(t.Context(), path, path, boltstore.RestoreOptions{AcceptOlder: true})
		require.NoError(t, err)
		aside, err := os.ReadFile(restored.Aside)
		require.NoError(t, err)
		require.True(t, bytes.Equal(data, aside))
		again := open(t, path)
		got, err := storetest.Contents(t.Context(), again)
		require.NoError(t, err)
		n := 8
		if len(got) == len(afterNumber(7)) {
			n = 7
		}
		require.Equal(t, afterNumber(n), got)
		commitNumbers(t, again, n+1, n+3)
		require.NoError(t, again.Close())
		requireContents(t, path, afterNumber(n+3))
	}
}
