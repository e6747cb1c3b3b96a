package usagelog

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"testing"

	"github.com/stretchr/testify/require"
)

// segmentOf makes a segment of 40 Appends of two subjects each, of which each uses 1 and 2 bytes more every time.
func segmentOf(tb testing.TB) (data []byte, subjects []Subject, ends []int) {
	tb.Helper()
	subjects = []Subject{{Peer, "a peer", 1}, {Account, "an account", 2}}
	w := newWriter("", false, newReplay())
	w.index = 1
	data = appendHeader(nil)
	for i := range int64(40) {
		n := uint64(i)
		w.prepare([]Reading{{subjects[0], Counters{n, 2 * n}}, {subjects[1], Counters{1000 + n, 2000 + 2*n}}})
		h := head{flags: flagAll, at: i, known: w.known}
		p := packer{buf: data, head: h}
		w.pack(&p)
		data = p.finish()
		w.settle(h)
		ends = append(ends, len(data))
	}
	return data, subjects, ends
}

// replayOf replays what can be read of a segment.
func replayOf(tb testing.TB, data []byte) (*replay, map[Subject]Counters, []Damage) {
	tb.Helper()
	sums := make(map[Subject]Counters)
	r := newReplay()
	r.grew = func(s *subjectState, growth Counters, _ int64) { sums[s.subject] = sums[s.subject].Add(growth) }
	scan := newScanner(bytes.NewReader(data))
	err := scan.header()
	for err == nil {
		var f *frame
		if f, err = scan.next(); err == nil {
			r.apply(f)
		}
	}
	if !errors.Is(err, ErrNewer) {
		require.ErrorIs(tb, err, io.EOF)
	}
	return r, sums, scan.damage
}

func TestSegmentIsReadWhole(t *testing.T) {
	data, subjects, _ := segmentOf(t)
	_, sums, damage := replayOf(t, data)
	require.Empty(t, damage)
	require.Equal(t, map[Subject]Counters{subjects[0]: {39, 78}, subjects[1]: {39, 78}}, sums)
}

func TestAnyByteThatIsDamagedCostsItsFrameOnly(t *testing.T) {
	data, subjects, ends := segmentOf(t)
	for i := range data {
		for _, flip := range []byte{0x01, 0x80, 0xff} {
			broken := bytes.Clone(data)
			broken[i] ^= flip
			_, sums, damage := replayOf(t, broken)
			require.Len(t, damage, 1, "byte %d", i)
			begin, end := 0, headerSize
			for _, next := range ends {
				if i < end {
					break
				}
				begin, end = end, next
			}
			require.Equal(t, Damage{Offset: int64(begin), Length: int64(end - begin), End: end == len(data)}, damage[0])
			want := Counters{39, 78}
			switch {
			case begin == headerSize: // the definitions are gone
				require.Empty(t, sums)
				continue
			case end == len(data):
				want = Counters{38, 76}
			}
			require.Equal(t, map[Subject]Counters{subjects[0]: want, subjects[1]: want}, sums, "byte %d", i)
		}
	}
}

func TestWhatIsCutOutCostsNothingElse(t *testing.T) {
	data, subjects, ends := segmentOf(t)
	for _, from := range []int{ends[3], ends[3] + 1, ends[3] + 20} {
		for to := from + 1; to < ends[9]; to++ {
			_, sums, damage := replayOf(t, append(bytes.Clone(data[:from]), data[to:]...))
			require.LessOrEqual(t, len(damage), 2)
			require.Equal(t, map[Subject]Counters{subjects[0]: {39, 78}, subjects[1]: {39, 78}}, sums)
		}
	}
}

func TestRepeatedFramesChangeNothing(t *testing.T) {
	data, _, ends := segmentOf(t)
	_, want, _ := replayOf(t, data)
	again := append(bytes.Clone(data), data[headerSize:]...)   // all once more
	again = append(again, data[ends[5]:ends[30]]...)           // some
	again = append(again, data[ends[5]:ends[6]]...)            // an old one
	again = append(again, bytes.Repeat(data[ends[38]:], 3)...) // the last
	again = append(again, data[ends[20]:ends[21]]...)          // and an old one
	_, sums, damage := replayOf(t, again)
	require.Empty(t, damage)
	require.Equal(t, want, sums)
}

func TestWhatCouldNotBeWrittenIsDefinedAgain(t *testing.T) {
	w := newWriter("", false, newReplay())
	s := Subject{Peer, "a peer", 1}
	pack := func(n uint64) []byte {
		w.prepare([]Reading{{s, Counters{n, n}}})
		p := packer{head: head{flags: flagAll, known: w.known}}
		w.pack(&p)
		return p.finish()
	}
	w.index = 1
	pack(1)
	w.settle(head{flags: flagAll})
	w.index = 2 // a segment that lost its base
	want := pack(2)
	w.undo()
	require.Equal(t, want, pack(2))
	r, _, damage := replayOf(t, append(appendHeader(nil), want...))
	require.Empty(t, damage)
	require.Equal(t, Counters{2, 2}, r.subjects[s].counters)
}

func TestNewerSegmentIsRefused(t *testing.T) {
	data, _, _ := segmentOf(t)
	binary.LittleEndian.PutUint32(data[8:], version+1)
	binary.LittleEndian.PutUint32(data[12:], sum(data[:12]))
	scan := newScanner(bytes.NewReader(data))
	require.ErrorIs(t, scan.header(), ErrNewer)
}

func TestManyIDsFillManyFrames(t *testing.T) {
	var readings []Reading
	for i := range uint64(5000) {
		readings = append(readings, Reading{Subject{Peer, string(bytes.Repeat([]byte("n"), 200)), i}, Counters{i, i}})
	}
	w := newWriter("", false, newReplay())
	w.index = 1
	w.prepare(readings)
	p := packer{buf: appendHeader(nil), head: head{flags: flagAll}}
	w.pack(&p)
	data := p.finish()
	r, _, damage := replayOf(t, data)
	require.Empty(t, damage)
	require.Len(t, r.subjects, 5000)
	require.Equal(t, uint64(4999), r.known)
	scan := newScanner(bytes.NewReader(data))
	require.NoError(t, scan.header())
	frames, last := 0, 0
	for f, err := scan.next(); err == nil; f, err = scan.next() {
		frames++
		if f.flags&flagLast != 0 {
			last = frames
		}
	}
	require.Equal(t, 16, frames) // of 64 KiB, for 1,000,000 bytes of names and what goes with them
	require.Equal(t, frames, last)
}

// FuzzFrames reads what a damaged disk, or an enemy who knows the sums, may have made of a segment. sealed says to make the
// sums right, so that what they hide is read too.
func FuzzFrames(f *testing.F) {
	data, subjects, ends := segmentOf(f)
	f.Add(data[:ends[2]], false)
	f.Add(data[:ends[2]], true)
	f.Add(data[headerSize:ends[1]], true)
	f.Add(append(bytes.Clone(data[:ends[1]+5]), data[ends[2]:ends[4]]...), false)
	f.Fuzz(func(t *testing.T, data []byte, sealed bool) {
		if sealed {
			data = reseal(data)
		}
		r, sums, damage := replayOf(t, data)
		lost := int64(0)
		for _, d := range damage {
			require.GreaterOrEqual(t, d.Offset, lost)
			require.True(t, d.Length > 0 || len(data) == 0)
			lost = d.Offset + d.Length
		}
		require.LessOrEqual(t, lost, int64(len(data)))
		require.LessOrEqual(t, len(r.ids), maxIDs)
		for s := range r.subjects {
			require.NoError(t, s.validate())
		}
		for s, c := range sums {
			require.Equal(t, c.highest(r.subjects[s].counters), r.subjects[s].counters, "more than the counters are")
		}
		if sealed {
			return
		}
		for s := range r.subjects {
			require.Contains(t, subjects, s)
			require.Equal(t, Counters{39, 78}, sums[s].highest(Counters{39, 78}), "more than was appended")
		}
	})
}

// reseal makes the sums of what looks like frames right.
func reseal(data []byte) []byte {
	data = bytes.Clone(data)
	if len(data) >= headerSize {
		binary.LittleEndian.PutUint32(data[12:], sum(data[:12]))
	}
	for at := 0; ; {
		i := bytes.Index(data[at:], []byte(frameMagic))
		if i < 0 || len(data)-at-i < headerSize {
			return data
		}
		at += i
		frame := data[at:]
		n := min(int(binary.LittleEndian.Uint32(frame[4:])), maxPayload, len(frame)-headerSize)
		binary.LittleEndian.PutUint32(frame[4:], uint32(n))
		binary.LittleEndian.PutUint32(frame[8:], sum(frame[headerSize:headerSize+n]))
		binary.LittleEndian.PutUint32(frame[12:], sum(frame[:12]))
		at += headerSize + n
	}
}
