package boltstore_test

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"
	"pgregory.net/rapid"

	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/boltstore"
	"github.com/waylume/waylume/wgnode/wgnodetest/storetest"
)

// sample is a store's file, as bytes, and what it holds: records of several kinds, in trees that have branches, after enough
// changes that some pages are free.
type sample struct {
	data []byte
	want map[storetest.ID]string
}

// makeSample makes a file with some peers; compact is one without room to grow, as a backup is.
func makeSample(t testing.TB, peers int, compact bool) sample {
	t.Helper()
	path := newPath(t)
	store, err := boltstore.Open(path, boltstore.Options{})
	require.NoError(t, err)
	batch := []wgnode.Mutation{storetest.Put(wgnode.RecordNode, "sequence", "41")}
	for i := range peers + 4 {
		key := fmt.Sprintf("peer-%04d", i)
		batch = append(batch, storetest.Put(wgnode.RecordPeer, key, strings.Repeat("definition", 60)),
			storetest.Put(wgnode.RecordPeerUsage, key, strings.Repeat("usage", 20)))
	}
	require.NoError(t, store.Commit(t.Context(), batch))
	batch = []wgnode.Mutation{storetest.Put(wgnode.RecordNode, "sequence", "42")}
	for i := range 4 {
		key := fmt.Sprintf("peer-%04d", peers+i)
		batch = append(batch, storetest.Remove(wgnode.RecordPeer, key), storetest.Remove(wgnode.RecordPeerUsage, key))
	}
	require.NoError(t, store.Commit(t.Context(), batch))
	require.NoError(t, store.Commit(t.Context(), []wgnode.Mutation{storetest.Put(wgnode.RecordAccount, "family", "{}")}))
	want, err := storetest.Contents(t.Context(), store)
	require.NoError(t, err)
	require.Len(t, want, 2*peers+2)
	if compact {
		copied := newPath(t)
		_, err := store.Backup(t.Context(), copied, boltstore.BackupOptions{})
		require.NoError(t, err)
		defer func() { require.NoError(t, os.Remove(copied)) }()
		path = copied
	}
	require.NoError(t, store.Close())
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	return sample{data, want}
}

// attempt opens a file that may be damaged. It says whether it was taken, and fails unless all was there then; and unless a
// file that was refused is said to be damaged, and is as it was.
func (s sample) attempt(t testing.TB, path string) (taken bool, err error) {
	before, err := os.Stat(path)
	if err != nil {
		return false, err
	}
	store, err := boltstore.Open(path, boltstore.Options{LockTimeout: time.Second})
	if err != nil {
		after, lost := os.Stat(path)
		switch {
		case lost != nil:
			return false, lost
		case !errors.Is(err, boltstore.ErrDamaged) && !errors.Is(err, boltstore.ErrNewer) && !errors.Is(err, boltstore.ErrForeign):
			return false, fmt.Errorf("refused for another reason: %w", err)
		case after.Size() != before.Size() || after.ModTime() != before.ModTime():
			return false, errors.New("a file was changed that was refused")
		}
		return false, nil
	}
	got, err := storetest.Contents(t.Context(), store)
	if err := errors.Join(err, store.Close()); err != nil {
		return false, fmt.Errorf("taken and not read: %w", err)
	}
	if !maps.Equal(s.want, got) {
		return false, fmt.Errorf("taken, and it has %d records of %d", len(got), len(s.want))
	}
	return true, nil
}

// thinned is how many of the places in a file a test leaves out: opening one takes ten times as long under the race detector.
func thinned() int {
	if underRace {
		return 61
	}
	return 1
}

// A file that was cut off anywhere is refused, at each length there is.
func TestCutOff(t *testing.T) {
	t.Parallel()
	s := makeSample(t, 12, true)
	path := newPath(t)
	require.NoError(t, os.WriteFile(path, s.data, 0o600))
	taken, err := s.attempt(t, path)
	require.NoError(t, err)
	require.True(t, taken)
	lengths := 0
	for size := range slices.Backward(s.data) {
		if page := size % os.Getpagesize(); size%thinned() != 0 && page > 1 && page < os.Getpagesize()-1 {
			continue
		}
		require.NoError(t, os.Truncate(path, int64(size)))
		if taken, err := s.attempt(t, path); err != nil || taken {
			t.Fatalf("cut off after %d of %d bytes: taken %v, %v", size, len(s.data), taken, err)
		}
		lengths++
	}
	t.Logf("%d lengths of a file of %d bytes", lengths, len(s.data))
}

// The file of a store has room to grow at its end, which it can do without.
func TestCutOffAtRoom(t *testing.T) {
	t.Parallel()
	s := makeSample(t, 12, false)
	path := newPath(t)
	require.NoError(t, os.WriteFile(path, s.data, 0o600))
	refused, lengths := 0, 0
	for size := len(s.data); size >= 0; size -= 512 {
		for _, cut := range []int{size, size - 1} {
			if cut < 0 {
				continue
			}
			require.NoError(t, os.Truncate(path, int64(cut)))
			taken, err := s.attempt(t, path)
			require.NoError(t, err, cut)
			lengths++
			if !taken {
				refused++
			} else {
				require.Zero(t, refused, "taken when cut off after %d bytes, and not before", cut)
			}
		}
	}
	require.Positive(t, refused)
	require.Less(t, refused, lengths)
}

// One bit that is wrong is harmless or found out: any bit where the headers of pages and entries are, and one in every fourth
// byte elsewhere.
func TestFlippedBits(t *testing.T) {
	t.Parallel()
	s := makeSample(t, 12, true)
	var flips []int // as numbers of bits
	for at := range s.data {
		if at%os.Getpagesize() < 128 {
			for bit := range 8 {
				flips = append(flips, at*8+bit)
			}
		} else if at%4 == 0 {
			flips = append(flips, at*8+rand.IntN(32))
		}
	}
	const parts = 4
	for part := range parts {
		t.Run(fmt.Sprint(part), func(t *testing.T) {
			t.Parallel()
			path := newPath(t)
			require.NoError(t, os.WriteFile(path, s.data, 0o600))
			file, err := os.OpenFile(path, os.O_RDWR, 0)
			require.NoError(t, err)
			defer file.Close()
			refused, taken := 0, 0
			for i := part * thinned(); i < len(flips); i += parts * thinned() {
				at, bit := flips[i]/8, byte(1)<<(flips[i]%8)
				_, err := file.WriteAt([]byte{s.data[at] ^ bit}, int64(at))
				require.NoError(t, err)
				ok, err := s.attempt(t, path)
				if err != nil {
					t.Fatalf("byte %d of page %d, bit %#x: %v", at%os.Getpagesize(), at/os.Getpagesize(), bit, err)
				}
				if ok {
					taken++
				} else {
					refused++
				}
				_, err = file.WriteAt(s.data[at:at+1], int64(at))
				require.NoError(t, err)
			}
			t.Logf("%d bits found out, and %d harmless", refused, taken)
			require.Positive(t, refused)
			require.Positive(t, taken)
		})
	}
}

// Whatever overwrites parts of a file, what is taken is whole, and can be written to.
func TestOverwritten(t *testing.T) {
	t.Parallel()
	s := makeSample(t, 12, true)
	page := os.Getpagesize()
	rapid.Check(t, func(rt *rapid.T) {
		data := append([]byte(nil), s.data...)
		switch rapid.IntRange(0, 3).Draw(rt, "how") {
		case 0: // bytes anywhere
			at := rapid.IntRange(0, len(data)-1).Draw(rt, "at")
			copy(data[at:], rapid.SliceOfN(rapid.Byte(), 1, 64).Draw(rt, "bytes"))
		case 1: // a page that was never written
			at := rapid.IntRange(0, len(data)/page-1).Draw(rt, "page") * page
			clear(data[at : at+page])
		case 2: // a page in the place of another
			from, to := rapid.IntRange(0, len(data)/page-1).Draw(rt, "from")*page, rapid.IntRange(0, len(data)/page-1).Draw(rt, "to")*page
			copy(data[to:to+page], data[from:])
		case 3: // sectors that were never written
			for range rapid.IntRange(1, 4).Draw(rt, "sectors") {
				at := rapid.IntRange(0, len(data)/512-1).Draw(rt, "sector") * 512
				clear(data[at : at+512])
			}
		}
		path := newPath(t)
		require.NoError(rt, os.WriteFile(path, data, 0o600))
		taken, err := s.attempt(t, path)
		require.NoError(rt, err)
		if !taken {
			return
		}
		store, err := boltstore.Open(path, boltstore.Options{})
		require.NoError(rt, err)
		require.NoError(rt, store.Commit(rt.Context(), []wgnode.Mutation{storetest.Put(wgnode.RecordAccount, "new", "x")}))
		require.NoError(rt, store.Close())
		report, err := boltstore.Check(path)
		require.NoError(rt, err)
		require.NoError(rt, report.Err())
		require.Equal(rt, uint64(len(s.want)+1), report.Readable())
	})
}

// No file that is there and holds no state is taken for an empty store, and none is changed.
func TestForeignFilesAreRefused(t *testing.T) {
	for name, test := range map[string]struct {
		data []byte
		want error
		says string
	}{
		"empty":  {nil, boltstore.ErrDamaged, "it is empty, which the state of a node never is"},
		"zeros":  {make([]byte, 1<<16), boltstore.ErrDamaged, "it is no state of a node"},
		"text":   {[]byte(strings.Repeat("waylume\n", 1<<12)), boltstore.ErrDamaged, "it is no state of a node"},
		"a byte": {[]byte{0}, boltstore.ErrDamaged, "it is no state of a node"},
	} {
		t.Run(name, func(t *testing.T) {
			path := newPath(t)
			require.NoError(t, os.WriteFile(path, test.data, 0o600))
			require.Contains(t, refuse(t, path, test.want).Error(), test.says)
			data, err := os.ReadFile(path)
			require.NoError(t, err)
			require.Equal(t, string(test.data), string(data))
		})
	}
	t.Run("another bbolt file", func(t *testing.T) {
		path := newPath(t)
		db, err := bolt.Open(path, 0o600, nil)
		require.NoError(t, err)
		require.NoError(t, db.Update(func(tx *bolt.Tx) error {
			_, err := tx.CreateBucket([]byte("photos"))
			return err
		}))
		require.NoError(t, db.Close())
		refuse(t, path, boltstore.ErrForeign)
	})
	t.Run("directory", func(t *testing.T) {
		dir := t.TempDir()
		_, err := boltstore.Open(dir, boltstore.Options{})
		require.ErrorContains(t, err, "it is no file but d")
	})
	t.Run("dangling link", func(t *testing.T) {
		path := newPath(t)
		if err := os.Symlink(path+".absent", path); err != nil {
			t.Skip(err)
		}
		refuse(t, path, fs.ErrNotExist)
	})
}
