package boltstore_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/boltstore"
	"github.com/waylume/waylume/wgnode/wgnodetest/storetest"
)

// lap is how many numbers are in the file at once: a commit puts two records for its number and deletes those of one before.
const lap = 300

// writeOn commits one number after another from the one it is given, and says each when it was acknowledged.
func writeOn(args []string) error {
	n, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	store, err := boltstore.Open(args[0], boltstore.Options{})
	if err != nil {
		return err
	}
	for ; ; n++ {
		if err := store.Commit(context.Background(), numbered(n)); err != nil {
			return err
		}
		if _, err := fmt.Fprintln(os.Stdout, n); err != nil {
			return err
		}
	}
}

// numbered is the batch of a number: whole or absent, as all of it is about one.
func numbered(n int) []wgnode.Mutation {
	value := strings.Repeat(strconv.Itoa(n)+",", 1+n%97)
	return []wgnode.Mutation{
		storetest.Put(wgnode.RecordPeer, strconv.Itoa(n), value), storetest.Put(wgnode.RecordPeerUsage, strconv.Itoa(n), value),
		storetest.Put(wgnode.RecordNode, "last", strconv.Itoa(n)),
		storetest.Remove(wgnode.RecordPeer, strconv.Itoa(n-lap)), storetest.Remove(wgnode.RecordPeerUsage, strconv.Itoa(n-lap)),
	}
}

// afterNumber is what there is after the batches from 1 to n.
func afterNumber(n int) map[storetest.ID]string {
	all := make(map[storetest.ID]string)
	for i := max(1, n-lap+1); i <= n; i++ {
		for _, m := range numbered(i)[:3] {
			all[storetest.ID{Kind: m.Kind, Key: m.Key}] = string(m.Value)
		}
	}
	return all
}

// A process that writes as fast as it can is killed at random moments: what it was told is durable is there, and nothing by
// halves. The first kills come while the file is being made.
func TestKilled(t *testing.T) {
	if testing.Short() {
		t.Skip("kills a process many times")
	}
	t.Parallel()
	const kills = 60
	path := newPath(t)
	acknowledged, unheard := 0, 0
	for i := range kills {
		cmd := child("write", path, strconv.Itoa(acknowledged+1))
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		after := time.Duration(rand.IntN(120)) * time.Millisecond
		if i < 10 {
			after = time.Duration(rand.IntN(25)) * time.Millisecond
		}
		from := bufio.NewReader(out)
		if i >= kills/2 {
			_, _ = from.Peek(1) // it has written, however busy the machine is
		}
		time.AfterFunc(after, func() { _ = cmd.Process.Kill() })
		said, err := io.ReadAll(from)
		require.NoError(t, err)
		require.Error(t, cmd.Wait())
		require.Equal(t, -1, cmd.ProcessState.ExitCode(), "it ended by itself")
		if end := strings.LastIndexByte(string(said), '\n'); end >= 0 {
			lines := strings.Fields(string(said[:end]))
			last, err := strconv.Atoi(lines[len(lines)-1])
			require.NoError(t, err)
			acknowledged = last
		}
		if _, err := os.Stat(path); os.IsNotExist(err) {
			require.Zero(t, acknowledged)
			continue
		}
		store, err := boltstore.Open(path, boltstore.Options{})
		require.NoError(t, err, "kill %d", i)
		got, err := storetest.Contents(t.Context(), store)
		require.NoError(t, err)
		require.NoError(t, store.Close())
		entries, err := os.ReadDir(filepath.Dir(path))
		require.NoError(t, err)
		require.Len(t, entries, 1, "what is left of one that was killed while it made the file is gone with the next start")
		// The batch that was under way may have been written without a word.
		n, err := strconv.Atoi(got[storetest.ID{Kind: wgnode.RecordNode, Key: "last"}])
		if len(got) > 0 {
			require.NoError(t, err)
		}
		if n == acknowledged+1 {
			unheard++
			acknowledged = n
		}
		require.Equal(t, acknowledged, n)
		require.Equal(t, afterNumber(n), got)
	}
	t.Logf("%d kills, %d commits acknowledged, %d written and not acknowledged", kills, acknowledged, unheard)
	require.GreaterOrEqual(t, acknowledged, kills/2, "every other one was killed after a commit")
}

// TestLeftBehind opens a file beside which processes were killed that made it, or one with another name.
func TestLeftBehind(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	dir, name := filepath.Split(path)
	write := func(name string) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte("half"), 0o600))
	}
	write("." + name + ".new-1")
	for range 2 { // it is made, and it is there
		write("." + name + ".new-2")
		write(".backup.db.new-3")
		store, err := boltstore.Open(path, boltstore.Options{})
		require.NoError(t, err)
		require.NoError(t, store.Close())
		var names []string
		entries, err := os.ReadDir(dir)
		require.NoError(t, err)
		for _, e := range entries {
			names = append(names, e.Name())
		}
		require.Equal(t, []string{".backup.db.new-3", name}, names)
	}
}
