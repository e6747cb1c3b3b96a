package usagelog_test

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/usagelog"
)

// TestTornAtEveryLength cuts the last of three segments at every length.
func TestTornAtEveryLength(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, options())
	m := newModel()
	for i := range 40 {
		n := uint64(i)
		a := appended{turn: i, at: noon.Add(time.Duration(i) * time.Hour), all: true, readings: []usagelog.Reading{
			reading(peer(1), 500+n*n, n), reading(peer(2), 900, 0),
		}}
		if i > 10 {
			m.added[peer(3)] = 10
			a.readings = append(a.readings, reading(peer(3), n, 77))
		}
		appendAll(t, l, a.at, a.readings...)
		var err error
		a.path, a.end, err = lastSegment(dir)
		require.NoError(t, err)
		m.appends = append(m.appends, a)
	}
	require.NoError(t, l.Close())
	paths := segmentsOf(t, dir)
	require.Len(t, paths, 3)
	last := paths[2]
	whole := read(t, last)
	for size := range slices.Backward(whole) {
		m.cut(last, int64(size))
		torn := copyDir(t, dir)
		write(t, filepath.Join(torn, filepath.Base(last)), whole[:size])
		tornLog(t, torn, m)
	}
}

// tornLog opens a log whose end is torn, asks it, and goes on with it.
func tornLog(t *testing.T, dir string, m *model) {
	t.Helper()
	end := noon.AddDate(1, 0, 0)
	before, err := usagelog.OpenReader(dir)
	require.NoError(t, err)
	require.Equal(t, m.usage(time.Time{}, end), used(t, before, time.Time{}, end))

	l, err := usagelog.Open(dir, options())
	require.NoError(t, err)
	defer func() { require.NoError(t, l.Close()) }()
	require.Equal(t, m.usage(time.Time{}, end), used(t, l, time.Time{}, end))
	for _, d := range l.Damage() {
		require.True(t, d.End)
	}
	// The Append that was lost is made up for by the next.
	at := noon.Add(41 * time.Hour)
	appendAll(t, l, at, reading(peer(1), 10_000, 60), reading(peer(2), 900, 0), reading(peer(3), 60, 77))
	want := map[usagelog.Subject]usagelog.Counters{peer(1): {Download: 9500, Upload: 60}, peer(3): {Download: 60, Upload: 77}}
	require.Equal(t, want, used(t, l, time.Time{}, end))
	require.NoError(t, l.Close())
	l, err = usagelog.Open(dir, options())
	require.NoError(t, err)
	defer func() { require.NoError(t, l.Close()) }()
	require.Empty(t, l.Damage(), "what was cut off is gone")
	require.Equal(t, want, used(t, l, time.Time{}, end))
}

// TestDamageIsReportedAndCostsNothingLater damages each byte of the middle segment of three: the whole stays known, and the
// day that is damaged as well, for the next begins with what it ended with.
func TestDamageIsReportedAndCostsNothingLater(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, options())
	appendAll(t, l, noon, reading(peer(1), 7, 7))
	for i := range 9 {
		n := uint64(i)
		appendAll(t, l, noon.Add(time.Duration(6*i+7)*time.Hour), reading(peer(1), 10+n, 10), reading(peer(2), 50*n, n))
	}
	require.NoError(t, l.Close())
	begin, end := noon.Add(12*time.Hour), noon.Add(36*time.Hour)
	all := used(t, reader(t, dir), time.Time{}, noon.AddDate(1, 0, 0))
	day := used(t, reader(t, dir), begin, end)
	require.Equal(t, usagelog.Counters{Download: 200, Upload: 4}, day[peer(2)])
	require.Len(t, segmentsOf(t, dir), 3)
	path := segmentsOf(t, dir)[1]
	whole := read(t, path)
	for i := range whole {
		broken := append([]byte(nil), whole...)
		broken[i] ^= 0x40
		write(t, path, broken)
		r := reader(t, dir)
		got, err := r.Usage(t.Context(), time.Time{}, noon.AddDate(1, 0, 0), nil)
		require.NoError(t, err)
		require.Equal(t, all, sums(got), "byte %d", i)
		require.Len(t, got.Damage, 1)
		require.Equal(t, filepath.Base(path), got.Damage[0].Segment)
		got, err = r.Usage(t.Context(), begin, end, nil)
		require.NoError(t, err)
		require.Equal(t, day, sums(got), "byte %d", i)
		require.NotEmpty(t, got.Damage)
	}
}

// TestSubjectWhoseBeginningIsDamagedCountsLater damages the frame that defines a new subject, alone or with those after it
// in its day.
func TestSubjectWhoseBeginningIsDamagedCountsLater(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, options())
	appendAll(t, l, noon, reading(peer(1), 7, 7))
	path, size, err := lastSegment(dir)
	require.NoError(t, err)
	for i := range uint64(10) {
		appendAll(t, l, noon.Add(time.Duration(i+1)*2*time.Hour), reading(peer(1), 7, 7), reading(peer(5), 100*(i+1), 1))
	}
	require.NoError(t, l.Close())
	whole := read(t, path)
	for _, to := range []int64{size + 5, int64(len(whole))} {
		data := slices.Clone(whole)
		clear(data[size+1 : to])
		write(t, path, data)
		s, err := reader(t, dir).Usage(t.Context(), noon, noon.AddDate(0, 0, 2), nil)
		require.NoError(t, err)
		require.Len(t, s.Damage, 1)
		require.Equal(t, map[usagelog.Subject]usagelog.Counters{peer(5): {Download: 1000, Upload: 1}}, sums(s))
	}
}

// TestBaseThatIsDamagedInPart damages the first of many frames of a base: the day is read from the one before.
func TestBaseThatIsDamagedInPart(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, options())
	midnight := noon.Add(12 * time.Hour)
	for i, at := range []time.Time{noon, midnight.Add(time.Hour), midnight.Add(25 * time.Hour)} {
		var readings []usagelog.Reading
		for n := range uint64(1000) {
			s := usagelog.Subject{Kind: usagelog.Account, Name: fmt.Sprintf("%0200d", n), Sequence: n}
			readings = append(readings, reading(s, 1000+4*uint64(i), n))
		}
		appendAll(t, l, at, readings...)
	}
	path := segmentsOf(t, dir)[1]
	data := read(t, path)
	data[1000] ^= 1
	write(t, path, data)
	for _, a := range []asker{l, reader(t, dir)} {
		s, err := a.Usage(t.Context(), midnight, midnight.Add(24*time.Hour), nil)
		require.NoError(t, err)
		require.Len(t, s.Damage, 1)
		require.Len(t, s.Usages, 1000)
		for _, u := range s.Usages {
			require.Equal(t, usagelog.Counters{Download: 4}, u.Counters)
		}
	}
}

func reader(t *testing.T, dir string) *usagelog.Reader {
	t.Helper()
	r, err := usagelog.OpenReader(dir)
	require.NoError(t, err)
	return r
}

// childEnv tells the test binary to be a child that appends to the directory that it names, until it is killed.
const childEnv = "USAGELOG_TEST_CHILD"

// child appends readings that grow by one byte each, from where the log is, an hour apart, and says each that is there.
func child(dir string) int {
	l, err := usagelog.Open(dir, usagelog.Options{Retention: usagelog.MaxRetention}) // the hours of a fast machine are many days
	if err != nil {
		fmt.Println(err)
		return 1
	}
	n, err := total(l)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	for ; ; n++ {
		at := noon.Add(time.Duration(n) * time.Hour)
		readings := []usagelog.Reading{reading(peer(1), n, 2*n)}
		for i := range uint64(300) {
			readings = append(readings, reading(peer(2+i), n, n))
		}
		if err := l.Append(context.Background(), at, readings); err != nil {
			fmt.Println(err)
			return 1
		}
		fmt.Println(n)
	}
}

// total is what peer 1 has used in all.
func total(l asker) (uint64, error) {
	first := func(s usagelog.Subject) bool { return s == peer(1) }
	s, err := l.Usage(context.Background(), time.Time{}, noon.AddDate(100, 0, 0), first)
	if err != nil || len(s.Usages) == 0 {
		return 0, err
	}
	return s.Usages[0].Counters.Download, nil
}

// TestKill kills a child that appends, again and again, and finds what it acknowledged, and at most one Append more.
func TestKill(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "usage")
	var acknowledged uint64
	kills := 40
	if testing.Short() {
		kills = 5
	}
	for range kills {
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(cmd.Environ(), childEnv+"="+dir)
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		lines := bufio.NewScanner(out)
		require.True(t, lines.Scan(), "the child says its first")
		timer := time.AfterFunc(time.Duration(rand.IntN(60_000))*time.Microsecond, func() { _ = cmd.Process.Kill() })
		for more := true; more; more = lines.Scan() {
			_, err := fmt.Sscan(lines.Text(), &acknowledged)
			require.NoError(t, err, lines.Text())
		}
		timer.Stop()
		require.Error(t, cmd.Wait(), "it was killed")

		r := reader(t, dir)
		n, err := total(r)
		require.NoError(t, err)
		require.GreaterOrEqual(t, n, acknowledged)
		require.LessOrEqual(t, n, acknowledged+1)
		s, err := r.Usage(t.Context(), time.Time{}, noon.AddDate(100, 0, 0), nil)
		require.NoError(t, err)
		require.Empty(t, s.Damage)
		for _, u := range s.Usages {
			require.Equal(t, n, u.Counters.Download, u.Subject.String())
		}
	}
	t.Logf("%d kills, %d Appends, %d segments", kills, acknowledged, len(segmentsOf(t, dir)))
	require.Greater(t, len(segmentsOf(t, dir)), 1)
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	require.NoError(t, err)
	l := open(t, dir, usagelog.Options{})
	after, err := filepath.Glob(filepath.Join(dir, "*.new"))
	require.NoError(t, err)
	require.Empty(t, after, "of %v", files)
	require.NoError(t, l.Close())
}

func TestLocked(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, usagelog.Options{})
	_, err := usagelog.Open(dir, usagelog.Options{})
	require.ErrorIs(t, err, usagelog.ErrLocked)
	require.ErrorContains(t, err, dir)
	require.ErrorContains(t, err, fmt.Sprintf("by process %d", os.Getpid()))

	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(cmd.Environ(), childEnv+"="+dir)
	out, err := cmd.Output()
	require.Error(t, err)
	require.Contains(t, string(out), fmt.Sprintf("log is in use by process %d", os.Getpid()))

	require.NoError(t, l.Close())
	open(t, dir, usagelog.Options{})
}
