package replay

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

const window = 70

func open(t require.TestingT, path, boot string, now int64) *Journal {
	j, err := OpenJournal(path, boot, window, now, now+5)
	require.NoError(t, err)
	return j
}

func id(n int) ID { return Of("k", fmt.Sprint(n)) }

func TestOfTellsKeysApart(t *testing.T) {
	require.NotEqual(t, Of("a", "bc"), Of("ab", "c"))
	require.NotEqual(t, Of("1 a", "b"), Of("1", " ab"))
}

// What is remembered is what a map without a bound would have, over restarts, other boots, and clocks that step.
func TestCacheModel(t *testing.T) {
	dir := t.TempDir()
	runs := 0
	rapid.Check(t, func(t *rapid.T) {
		runs++
		path := filepath.Join(dir, fmt.Sprint(runs))
		const limit = 8
		var now, latest int64 = 1000, 1000
		boot := "a"
		used := make(map[int]int64) // to the second until which it is good
		j := open(t, path, boot, now)
		c := New(limit, j, time.Unix(now, 0))
		defer func() { require.NoError(t, c.Close()) }()
		t.Repeat(map[string]func(*rapid.T){
			"use": func(t *rapid.T) {
				n := rapid.IntRange(0, 20).Draw(t, "token")
				until := now + int64(rapid.IntRange(-2, window).Draw(t, "lives"))
				if was, ok := used[n]; ok {
					until = was // a token has one end
				}
				maps.DeleteFunc(used, func(_ int, until int64) bool { return until < latest })
				_, isUsed := used[n]
				err := c.Use(id(n), time.Unix(now, 0), until)
				switch {
				case until < latest:
					require.ErrorIs(t, err, ErrExpired)
				case isUsed:
					require.ErrorIs(t, err, ErrUsed)
				case len(used) >= limit:
					require.ErrorIs(t, err, ErrFull)
				default:
					require.NoError(t, err)
					used[n] = until
				}
			},
			"time": func(t *rapid.T) {
				now += int64(rapid.IntRange(-3, 2*window).Draw(t, "seconds"))
				latest = max(latest, now)
				require.NotErrorIs(t, c.Use(ID{}, time.Unix(now, 0), now-1000), ErrUsed)
			},
			"kill": func(t *rapid.T) {
				// The process is gone, and nothing was closed: what it had open stays so until the end of the test.
				now, latest = max(now, latest), max(now, latest)
				former := j
				j = open(t, path, boot, now)
				require.Zero(t, j.Floor())
				c = New(limit, j, time.Unix(now, 0))
				require.NoError(t, former.Close())
			},
			"": func(t *rapid.T) { require.LessOrEqual(t, c.Len(), limit) },
		})
	})
}

func TestFullCacheForgetsNothing(t *testing.T) {
	now := time.Unix(1000, 0)
	c := New(2, nil, now)
	require.NoError(t, c.Use(id(1), now, 1010))
	require.NoError(t, c.Use(id(2), now, 1020))
	require.ErrorIs(t, c.Use(id(3), now, 1030), ErrFull)
	require.ErrorIs(t, c.Use(id(1), now, 1010), ErrUsed)
	// In the last second that a token is good it is remembered; in the next there is room.
	require.ErrorIs(t, c.Use(id(3), now.Add(10*time.Second), 1030), ErrFull)
	require.NoError(t, c.Use(id(3), now.Add(11*time.Second), 1030))
	require.ErrorIs(t, c.Use(id(1), now.Add(11*time.Second), 1010), ErrExpired)
	require.Equal(t, 2, c.Len())
	// A clock that goes back brings nothing back.
	require.ErrorIs(t, c.Use(id(1), now, 1010), ErrExpired)
}

func TestUseOnceConcurrently(t *testing.T) {
	now := time.Unix(1000, 0)
	c := New(1000, open(t, filepath.Join(t.TempDir(), "used"), "a", 1000), now)
	var accepted atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for n := range 100 {
				switch err := c.Use(id(n), now, 1030); {
				case err == nil:
					accepted.Add(1)
				case !errors.Is(err, ErrUsed):
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	require.Equal(t, int64(100), accepted.Load())
	require.NoError(t, c.Close())
}

func TestJournalOfAnotherBootSaysNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "used")
	now := time.Unix(1000, 0)
	c := New(10, open(t, path, "a", 1000), now)
	require.NoError(t, c.Use(id(1), now, 1060))
	require.NoError(t, c.Close())
	require.ErrorIs(t, c.Use(id(2), now, 1060), os.ErrClosed)

	j := open(t, path, "b", 1010)
	require.Equal(t, int64(1015), j.Floor())
	require.NoError(t, j.Close())
	// The process that finds what this one has left must not believe that it has all.
	j = open(t, path, "b", 1012)
	require.Equal(t, int64(1015), j.Floor())
	require.NoError(t, j.Close())
}

func TestDamagedJournal(t *testing.T) {
	write := func(t *testing.T, damage func([]byte) []byte) (path string) {
		path = filepath.Join(t.TempDir(), "used")
		now := time.Unix(1000, 0)
		c := New(10, open(t, path, "a", 1000), now)
		for n := range 2 {
			require.NoError(t, c.Use(id(n), now, 1060))
		}
		require.NoError(t, c.Close())
		data, err := os.ReadFile(path)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(path, damage(data), 0o600))
		return path
	}
	t.Run("cut short while it was written to", func(t *testing.T) {
		j := open(t, write(t, func(b []byte) []byte { return b[:len(b)-1] }), "a", 1001)
		require.Zero(t, j.Floor())
		c := New(10, j, time.Unix(1001, 0))
		require.Equal(t, 1, c.Len())
		require.NoError(t, c.Close())
	})
	for name, damage := range map[string]func([]byte) []byte{
		"empty":         func([]byte) []byte { return nil },
		"another file":  func([]byte) []byte { return []byte("hello\n") },
		"without floor": func([]byte) []byte { return []byte(magic + " a\n") },
	} {
		t.Run(name, func(t *testing.T) {
			j := open(t, write(t, damage), "a", 1001)
			require.Equal(t, int64(1006), j.Floor())
			require.NoError(t, j.Close())
		})
	}
	t.Run("without a boot's id", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "used")
		j := open(t, path, "", 1000)
		require.Zero(t, j.Floor(), "new")
		require.NoError(t, j.Close())
		j = open(t, path, "", 1001)
		require.Equal(t, int64(1006), j.Floor())
		require.NoError(t, j.Close())
	})
}

// A journal of many tokens is of a bounded size, whatever happens between two files.
func TestJournalIsBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "used")
	c := New(10, open(t, path, "a", 0), time.Unix(0, 0))
	for n := range 2000 {
		require.NoError(t, c.Use(id(n), time.Unix(int64(n), 0), int64(n+5)))
	}
	for _, p := range []string{path, path + ".old"} {
		info, err := os.Stat(p)
		require.NoError(t, err)
		require.LessOrEqual(t, info.Size(), int64((window+2)*recordSize+100))
		require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	}
	require.NoError(t, c.Close())
	c = New(10, open(t, path, "a", 1999), time.Unix(1999, 0))
	require.Equal(t, 6, c.Len())
	require.NoError(t, c.Close())
}

// A directory that goes away lets nobody in, and everybody when it is back.
func TestJournalThatCannotBeWritten(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	require.NoError(t, os.Mkdir(dir, 0o700))
	c := New(10, open(t, filepath.Join(dir, "used"), "a", 0), time.Unix(0, 0))
	require.NoError(t, os.Rename(dir, dir+".away"))
	require.ErrorIs(t, c.Use(id(1), time.Unix(100, 0), 150), os.ErrNotExist)
	require.NoError(t, os.Rename(dir+".away", dir))
	require.ErrorIs(t, c.Use(id(1), time.Unix(100, 0), 150), ErrUsed, "nobody knows whether it was written")
	require.NoError(t, c.Use(id(2), time.Unix(100, 0), 150))
	require.NoError(t, c.Close())
}

// Whatever is in the files, the journal opens, and says whether it has all.
func FuzzJournal(f *testing.F) {
	f.Add([]byte(magic+" a 0\n"), []byte(nil))
	f.Add([]byte(magic+" a 7\n0123456789012345678901234567890112345678"), []byte("x"))
	f.Fuzz(func(t *testing.T, current, old []byte) {
		path := filepath.Join(t.TempDir(), "used")
		require.NoError(t, os.WriteFile(path, current, 0o600))
		require.NoError(t, os.WriteFile(path+".old", old, 0o600))
		j := open(t, path, "a", 100)
		floor := j.Floor()
		if !bytes.HasPrefix(current, []byte(magic+" a ")) || !bytes.HasPrefix(old, []byte(magic+" a ")) {
			require.GreaterOrEqual(t, floor, int64(105))
		}
		c := New(10, j, time.Unix(100, 0))
		used := c.Len()
		require.NoError(t, c.Close())
		j = open(t, path, "a", 100)
		require.Equal(t, floor, j.Floor())
		c = New(10, j, time.Unix(100, 0))
		require.Equal(t, used, c.Len())
		require.NoError(t, c.Close())
	})
}
