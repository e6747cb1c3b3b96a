package audit_test

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/waylume/waylume/wgnode/httpapi/audit"
)

// threeSegments makes a log of three segments, and returns its head.
func threeSegments(t *testing.T, dir string, opts audit.Options) (head audit.Head) {
	synctest.Test(t, func(t *testing.T) {
		l := open(t, dir, opts)
		for range 3 {
			for range 2 {
				require.NoError(t, l.Record(t.Context(), audit.Entry{Operation: "reload"}))
			}
			sleepPast(opts.SegmentAge)
		}
		head = l.Head()
		require.NoError(t, l.Kill())
	})
	require.Len(t, segments(t, dir), 4)
	return head
}

// found reports whether Verify finds anything wrong.
func found(t require.TestingT, dir string, opts audit.VerifyOptions) bool {
	r, err := audit.Verify(dir, opts)
	return err != nil || !r.Sound()
}

// TestEveryChangedByteIsFound changes each byte of the middle segment in turn, in a log with a key and in one without.
func TestEveryChangedByteIsFound(t *testing.T) {
	for name, key := range map[string][]byte{"plain": nil, "keyed": bytes.Repeat([]byte{7}, 32)} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			threeSegments(t, dir, audit.Options{Key: key, SegmentAge: time.Hour})
			opts := audit.VerifyOptions{Key: key}
			verify(t, dir, opts)
			path := segments(t, dir)[1]
			whole := read(t, path)
			for i := range whole {
				bit := []byte{0x01, 0x20, 0x80}[i%3] // another digit, the case of a letter, what is no ASCII
				broken := slices.Clone(whole)
				broken[i] ^= bit
				write(t, path, broken)
				require.True(t, found(t, dir, opts), "byte %d, bit %#x", i, bit)
				write(t, path, slices.Concat(whole[:i], whole[i+1:]))
				require.True(t, found(t, dir, opts), "byte %d removed", i)
			}
			write(t, path, whole)
			verify(t, dir, opts)
		})
	}
}

func TestRemovedAndReorderedLinesAreFound(t *testing.T) {
	dir := t.TempDir()
	threeSegments(t, dir, audit.Options{SegmentAge: time.Hour})
	for _, path := range segments(t, dir) {
		whole, lines := read(t, path), linesOf(t, path)
		lines[len(lines)-1] = append(lines[len(lines)-1], '\n')
		for i := range lines {
			write(t, path, bytes.Join(slices.Delete(slices.Clone(lines), i, i+1), nil))
			require.True(t, found(t, dir, audit.VerifyOptions{}), "line %d removed", i)
			for j := range i {
				swapped := slices.Clone(lines)
				swapped[i], swapped[j] = swapped[j], swapped[i]
				write(t, path, bytes.Join(swapped, nil))
				require.True(t, found(t, dir, audit.VerifyOptions{}), "lines %d and %d swapped", i, j)
			}
			write(t, path, bytes.Join(slices.Insert(slices.Clone(lines), i, lines[i]), nil))
			require.True(t, found(t, dir, audit.VerifyOptions{}), "line %d twice", i)
		}
		write(t, path, whole)
	}
	verify(t, dir, audit.VerifyOptions{})
}

func TestMissingSegmentsAreFound(t *testing.T) {
	whole, dir := t.TempDir(), filepath.Join(t.TempDir(), "copy")
	head := threeSegments(t, whole, audit.Options{SegmentAge: time.Hour})
	for i := range 4 {
		copyLog(t, whole, dir)
		require.NoError(t, os.Remove(segments(t, dir)[i]))
		require.True(t, found(t, dir, audit.VerifyOptions{}), "segment %d removed", i)
	}
	copyLog(t, whole, dir)
	list := segments(t, dir)
	a, b := read(t, list[1]), read(t, list[2])
	write(t, list[1], b)
	write(t, list[2], a)
	require.True(t, found(t, dir, audit.VerifyOptions{}), "segments swapped")

	// Whoever cuts the log off and mends the file "head" is found by a head that was noted elsewhere, and by that alone.
	copyLog(t, whole, dir)
	require.NoError(t, os.Remove(segments(t, dir)[3]))
	last := records(t, dir)
	older := audit.Head{Sequence: last[len(last)-1].Sequence, Hash: last[len(last)-1].Hash}
	write(t, filepath.Join(dir, "head"), []byte(older.String()+"\n"))
	require.False(t, found(t, dir, audit.VerifyOptions{}))
	require.False(t, found(t, dir, audit.VerifyOptions{Head: &older}))
	require.True(t, found(t, dir, audit.VerifyOptions{Head: &head}))
	require.NoError(t, os.Remove(filepath.Join(dir, "head")))
	require.True(t, found(t, dir, audit.VerifyOptions{}), "no head")
}

// Whoever makes the lines after one anew without the key is found; without a key only a noted head would find it.
func TestForgedChain(t *testing.T) {
	key := bytes.Repeat([]byte{7}, 32)
	whole, dir := t.TempDir(), t.TempDir()
	head := threeSegments(t, whole, audit.Options{Key: key, SegmentAge: time.Hour})
	threeSegments(t, dir, audit.Options{SegmentAge: time.Hour})
	r := verify(t, dir, audit.VerifyOptions{})
	forged := r.Head
	require.True(t, found(t, dir, audit.VerifyOptions{Head: &head}))
	require.NoError(t, os.Remove(segments(t, whole)[3]))
	write(t, segments(t, whole)[2], read(t, segments(t, dir)[2]))
	write(t, filepath.Join(whole, "head"), []byte(forged.String()+"\n"))
	require.True(t, found(t, whole, audit.VerifyOptions{Key: key}), "plain segments behind those with a key")
}

// machine drives a log with rapid, and knows what must be in it.
type machine struct {
	dir  string
	log  *audit.Log
	want []string // operations whose record was acknowledged

}

func (m *machine) Append(t *rapid.T) {
	op := rapid.StringMatching(`[a-z"\\<é]{1,40}`).Draw(t, "operation")
	require.NoError(t, m.log.Record(t.Context(), audit.Entry{Operation: op}))
	m.want = append(m.want, op)
}

func (m *machine) Change(t *rapid.T) {
	c, err := m.log.Begin(t.Context(), audit.Entry{Operation: "change"})
	require.NoError(t, err)
	m.want = append(m.want, "change")
	if rapid.Bool().Draw(t, "ends") {
		require.NoError(t, c.End(t.Context(), audit.Result{}))
	}
}

// unsynced is a disk that is fast: nobody kills the machine.
type unsynced struct{ audit.Disk }

func (unsynced) Sync() error { return nil }

func (m *machine) open(t *rapid.T) {
	m.log = open(t, m.dir, audit.Options{})
	m.log.WrapDisk(func(d audit.Disk) audit.Disk { return unsynced{d} })
}

func (m *machine) Rotate(t *rapid.T) { require.NoError(t, m.log.Rotate()) }

func (m *machine) Reopen(t *rapid.T) {
	require.NoError(t, m.log.Close())
	m.open(t)
	require.Empty(t, m.log.Found())
}

// Kill leaves some of a line behind that was never whole.
func (m *machine) Kill(t *rapid.T) {
	require.NoError(t, m.log.Kill())
	torn := rapid.StringMatching(`(\{"seq[a-z0-9":,]{0,40})?`).Draw(t, "torn")
	list := segments(t, m.dir)
	path := list[len(list)-1]
	write(t, path, append(read(t, path), torn...))
	m.open(t)
	require.Len(t, m.log.Found(), min(len(torn), 1))
}

// Tamper changes a byte anywhere in a copy.
func (m *machine) Tamper(t *rapid.T) {
	dir := m.dir + "-copy"
	copyLog(t, m.dir, dir)
	path := rapid.SampledFrom(segments(t, dir)).Draw(t, "segment")
	data := read(t, path)
	i := rapid.IntRange(0, len(data)-1).Draw(t, "byte")
	switch rapid.IntRange(0, 2).Draw(t, "how") {
	case 0:
		data[i] ^= byte(rapid.IntRange(1, 255).Draw(t, "bits"))
	case 1:
		data = slices.Delete(data, i, i+1)
	case 2:
		data = slices.Insert(data, i, byte(rapid.IntRange(0, 255).Draw(t, "inserted")))
	}
	write(t, path, data)
	require.True(t, found(t, dir, audit.VerifyOptions{}))
}

func (m *machine) Check(t *rapid.T) {
	r := verify(t, m.dir, audit.VerifyOptions{})
	require.Equal(t, m.log.Head(), r.Head)
	var got []string
	for _, r := range records(t, m.dir) {
		if r.Kind == audit.KindEvent || r.Kind == audit.KindIntent {
			got = append(got, r.Operation)
		}
	}
	require.Equal(t, m.want, got)
}

func TestMachine(t *testing.T) {
	root, n := t.TempDir(), 0
	rapid.Check(t, func(t *rapid.T) {
		n++
		m := &machine{dir: filepath.Join(root, strconv.Itoa(n))}
		m.open(t)
		defer func() {
			require.NoError(t, m.log.Close())
			require.NoError(t, os.RemoveAll(m.dir))
		}()
		t.Repeat(map[string]func(*rapid.T){
			"Check": m.Check, "Append": m.Append, "Change": m.Change, "Rotate": m.Rotate, "Reopen": m.Reopen, "Kill": m.Kill, "Tamper": m.Tamper,
		})
		m.Check(t)
	})
}
