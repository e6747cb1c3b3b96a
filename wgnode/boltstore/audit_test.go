package boltstore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/wgnodetest/storetest"
)

// treeFile is a file that has branches and free pages, as bytes.
func treeFile(t testing.TB) []byte {
	t.Helper()
	dir := t.TempDir()
	store, err := Open(filepath.Join(dir, "state.db"), Options{})
	require.NoError(t, err)
	for round := range 2 {
		batch := []wgnode.Mutation{storetest.Put(wgnode.RecordNode, "sequence", "7")}
		for i := range 24 {
			value := string(bytes.Repeat([]byte{'v'}, 500+round*1000*(i/23)*5)) // the last goes over several pages
			batch = append(batch, storetest.Put(wgnode.RecordPeer, fmt.Sprintf("peer-%04d", i), value))
		}
		require.NoError(t, store.Commit(t.Context(), batch))
	}
	_, err = store.Backup(t.Context(), filepath.Join(dir, "copy.db"), BackupOptions{})
	require.NoError(t, err)
	require.NoError(t, store.Close())
	data, err := os.ReadFile(filepath.Join(dir, "copy.db"))
	require.NoError(t, err)
	return data
}

// resum gives both root pages the checksum of what they say.
func resum(data []byte, page int) {
	for i := range 2 {
		body := data[i*page+headerSize:]
		sum := fnv.New64a()
		_, _ = sum.Write(body[:rootSize-8])
		binary.NativeEndian.PutUint64(body[rootSize-8:], sum.Sum64())
	}
}

// FuzzAudit puts bytes into a file, and makes the checksums of the root pages right again. Whatever they are, the audit ends;
// and what it finds sound, bbolt can read and write, and finds sound, too.
func FuzzAudit(f *testing.F) {
	base := treeFile(f)
	page := os.Getpagesize()
	f.Add(uint32(0), []byte{}, uint32(0), []byte{})
	for at := 0; at < len(base); at += page {
		f.Add(uint32(at), []byte{1}, uint32(at+8), []byte{1, 0, 255})
		f.Add(uint32(at+24), []byte{3, 0, 0, 0}, uint32(at+16+32), []byte{3})
		f.Add(uint32(at+12), []byte{255}, uint32(at+40), []byte{255, 255, 255, 255})
	}
	f.Fuzz(func(t *testing.T, at uint32, patch []byte, at2 uint32, patch2 []byte) {
		data := bytes.Clone(base)
		for start, bytes := range map[uint32][]byte{at: patch, at2: patch2} {
			copy(data[int(start)%len(data):], bytes)
		}
		resum(data, page)
		a := newAudit(bytes.NewReader(data), int64(len(data)), firstVersion)
		if a.err() != nil {
			return
		}
		path := filepath.Join(t.TempDir(), "state.db")
		require.NoError(t, os.WriteFile(path, data, fileMode))
		store, err := Open(path, Options{LockTimeout: time.Second})
		require.NoError(t, err)
		got, err := storetest.Contents(t.Context(), store)
		require.NoError(t, err)
		require.Equal(t, a.committed, uint64(len(got)))
		require.NoError(t, store.Commit(t.Context(), []wgnode.Mutation{storetest.Put(wgnode.RecordAccount, "new", "x")}))
		require.NoError(t, store.Close())
		if a.lost > 0 {
			return
		}
		report, err := Check(path)
		require.NoError(t, err)
		require.Empty(t, report.Problems)
	})
}

// No beginning of a file is sound, whatever is read of it; TestCutOff does this with files, at every length.
func TestAuditOfBeginnings(t *testing.T) {
	data := treeFile(t)
	require.NoError(t, newAudit(bytes.NewReader(data), int64(len(data)), firstVersion).err())
	for size := 0; size < len(data); size += 31 {
		if err := newAudit(bytes.NewReader(data[:size]), int64(size), firstVersion).err(); !errors.Is(err, ErrDamaged) {
			t.Fatalf("cut off after %d of %d bytes: %v", size, len(data), err)
		}
	}
}

// Pages that lead back to themselves, as bbolt would for ever.
func TestCircle(t *testing.T) {
	data, page := treeFile(t), os.Getpagesize()
	for at := 2 * page; at < len(data); at += page {
		if p, _ := parsePage(data[at:]); p.flags == branchFlag {
			binary.NativeEndian.PutUint64(data[at+headerSize+8:], p.id)
		}
	}
	a := newAudit(bytes.NewReader(data), int64(len(data)), firstVersion)
	require.ErrorIs(t, a.err(), ErrDamaged)
	require.ErrorContains(t, a.err(), "is in use in two places")
}

// A free page that holds records is what bbolt would write over.
func TestFreePageInUse(t *testing.T) {
	data, page := treeFile(t), os.Getpagesize()
	root, broken, err := readRoots(bytes.NewReader(data))
	require.NoError(t, err)
	require.NoError(t, broken)
	list := data[int(root.freelist)*page:]
	p, _ := parsePage(list)
	require.Positive(t, p.count)
	binary.NativeEndian.PutUint64(list[headerSize:], root.bucket)
	a := newAudit(bytes.NewReader(data), int64(len(data)), firstVersion)
	require.ErrorIs(t, a.err(), ErrDamaged)
	require.ErrorContains(t, a.err(), fmt.Sprintf("the list of free pages has page %d, which is in use", root.bucket))
}

// A page that is forgotten is lost space and nothing else.
func TestLostPage(t *testing.T) {
	data, page := treeFile(t), os.Getpagesize()
	root, _, err := readRoots(bytes.NewReader(data))
	require.NoError(t, err)
	list := data[int(root.freelist)*page:]
	p, _ := parsePage(list)
	binary.NativeEndian.PutUint16(list[10:], uint16(p.count-1))
	path := filepath.Join(t.TempDir(), "state.db")
	require.NoError(t, os.WriteFile(path, data, fileMode))
	report, err := Check(path)
	require.NoError(t, err)
	require.NoError(t, report.Err())
	require.Equal(t, uint64(1), report.LostPages)
	require.Equal(t, uint64(p.count-1), report.FreePages)
}

// Problems beyond a screenful are counted.
func TestManyProblems(t *testing.T) {
	data := bytes.ReplaceAll(treeFile(t), []byte("vvvvvvvv"), []byte("wwwwwwww"))
	a := newAudit(bytes.NewReader(data), int64(len(data)), firstVersion)
	require.Len(t, a.problems, maxProblems)
	require.Equal(t, 24-maxProblems, a.more)
	require.ErrorContains(t, a.err(), `the checksum of peer "peer-0000" is wrong (and 23 problems more)`)
	require.Equal(t, []KindReport{
		{Kind: wgnode.RecordNode, Records: 1, Bytes: uint64(len("sequence7"))}, {Kind: wgnode.RecordPeer, Damaged: 24},
	}, a.sortedKinds())
}
