package audit

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// VerifyOptions are what a log is held against.
type VerifyOptions struct {
	// Key is that of [Options].
	Key []byte
	// Head is one that was noted; nil: there is none but that of the file "head".
	Head *Head
}

// Verify reads a log, or one segment of it, and says what is not as it was written. It changes nothing; the log may be in use.
// Of a segment alone it cannot say whether it is in its place. Errors match [ErrKey], [ErrNewer], or are what the system says;
// what is wrong with the log itself is none.
func Verify(path string, opts VerifyOptions) (Report, error) {
	v := newVerifier(opts.Key)
	if err := v.verify(path, opts.Head); err != nil {
		return Report{}, explain("verify", path, err)
	}
	return v.report, nil
}

func (v *verifier) verify(path string, noted *Head) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	v.want(noted)
	if !info.IsDir() {
		v.report.note("one segment alone: what was before it and after it is not known")
		if err := v.segment(path); err != nil {
			return err
		}
		v.finish(false)
		return nil
	}
	head, err := readHead(path) // before the log, which is ahead of it from then on
	switch {
	case errors.Is(err, errHead):
		v.find("%v: whether the log was cut off at its end cannot be told by it", err)
	case err != nil:
		return err
	case head == nil:
		v.find("file %q is missing: whether the log was cut off at its end cannot be told by it", headName)
	}
	v.want(head)
	list, err := listSegments(path)
	if err != nil {
		return err
	}
	for i, s := range list {
		if i > 0 && v.started && s.index != list[i-1].index+1 {
			v.find("segments %d to %d are missing", list[i-1].index+1, s.index-1)
		}
		err := v.segment(filepath.Join(path, s.name()))
		if errors.Is(err, fs.ErrNotExist) && !v.started {
			continue // deleted for its age just now
		}
		if err != nil {
			return err
		}
	}
	v.finish(true)
	return nil
}

// verifier follows the lines of a log.
type verifier struct {
	key    []byte
	report Report

	// started: there was a line that could be read. next is the number that the following line must have, and hash what it must
	// say of the one before it; lost: lines could not be read since.
	started bool
	next    uint64
	hash    string
	lost    bool
	// first is the first line of the first segment, if it could be read.
	first *Record
	// retired is the last record of segments that were deleted.
	retired *Record
	intents map[uint64]Unknown
	// wanted are hashes that records must have, by their numbers.
	wanted map[uint64]string

	// Of the segment that is read: name, the algorithm that its first line names, how much of it is whole lines, and how much
	// comes after.
	name      string
	algorithm string
	size      int64
	torn      int64
}

func newVerifier(key []byte) *verifier {
	return &verifier{key: key, intents: make(map[uint64]Unknown), wanted: make(map[uint64]string)}
}

// find notes what is wrong with the log as a whole.
func (v *verifier) find(format string, args ...any) {
	v.report.find(Finding{What: fmt.Sprintf(format, args...)})
}

// want has a record checked against a head.
func (v *verifier) want(h *Head) {
	if h == nil || h.Sequence == 0 {
		return
	}
	if other, twice := v.wanted[h.Sequence]; twice && other != h.Hash {
		v.find("record %d is not the same in the head that was given and in the file %q", h.Sequence, headName)
	}
	v.wanted[h.Sequence] = h.Hash
}

// segment reads the next segment.
func (v *verifier) segment(path string) error {
	return readSegment(path, func(r io.Reader) error { return v.read(filepath.Base(path), r) })
}

func (v *verifier) read(name string, r io.Reader) error {
	if v.torn > 0 {
		v.report.find(Finding{Segment: v.name, What: "its last line is cut off"})
	}
	v.name, v.algorithm, v.size, v.torn = name, "", 0, 0
	v.report.Segments++
	if err := scan(r, v.choose, v.line); err != nil {
		return err
	}
	if v.size == 0 {
		v.report.find(Finding{Segment: name, What: "has no line"})
		v.lost = true
	}
	return nil
}

// choose returns what makes the hashes of a segment, which its first line says.
func (v *verifier) choose(first Record) (*sealer, error) {
	keyed := sealer{v.key}
	if first.Segment == nil { // it cannot be read, which is told
		return &keyed, nil
	}
	switch s := first.Segment; {
	case s.Schema != Schema || s.Algorithm != AlgorithmPlain && s.Algorithm != AlgorithmKeyed:
		return nil, fmt.Errorf("%s: %w: schema %q, algorithm %q", v.name, ErrNewer, cut(s.Schema), cut(s.Algorithm))
	case s.Algorithm == AlgorithmPlain:
		v.algorithm = AlgorithmPlain
		switch {
		case v.report.Keyed > 0:
			v.report.find(Finding{Segment: v.name, What: "has no hashes of a key, while those before have"})
		case v.key != nil:
			v.report.note("%s: was written without a key", v.name)
		}
		return &sealer{}, nil
	case v.key == nil:
		return nil, fmt.Errorf("%s: %w: the log was written with a key: give that", v.name, ErrKey)
	case s.KeyID != keyed.keyID():
		return nil, fmt.Errorf("%s: %w: it was written with the key of id %q, and this one has %s",
			v.name, ErrKey, cut(s.KeyID), keyed.keyID())
	}
	v.algorithm = AlgorithmKeyed
	v.report.Keyed++
	return &keyed, nil
}

// line looks at a line, and how it follows the one before.
func (v *verifier) line(l line) error {
	if l.torn {
		v.torn = l.length
		return nil
	}
	v.size = l.offset + l.length
	wrong := func(format string, args ...any) {
		v.report.find(Finding{Segment: v.name, Line: l.number, What: fmt.Sprintf(format, args...)})
	}
	r := &l.record
	switch {
	case l.wrong != "":
		wrong("%s", l.wrong)
		v.lost = true
		return nil
	case (l.number == 1) != (r.Kind == KindSegment && r.Segment != nil):
		wrong("is out of place: a segment begins with what says so, and nowhere else")
	case l.number == 1 && (segment{index: r.Segment.Index}).name() != v.name:
		wrong("is that of segment %d: the file was renamed", r.Segment.Index)
	}
	switch {
	case !v.started:
		if l.number == 1 {
			first := *r
			v.first = &first
		}
		v.report.First, v.report.From = r.Sequence, r.Time
	case r.Sequence < v.next:
		wrong("is record %d, out of order: %d is next", r.Sequence, v.next)
	case v.lost:
	case r.Sequence > v.next:
		wrong("is record %d: records %d to %d are missing", r.Sequence, v.next, r.Sequence-1)
	case r.Previous != v.hash:
		wrong("does not follow the record before it: that was another")
	}
	v.started, v.lost, v.next, v.hash = true, false, r.Sequence+1, r.Hash
	v.account(r)
	return nil
}

// account notes what a record tells.
func (v *verifier) account(r *Record) {
	v.report.Records++
	v.report.Head, v.report.To = Head{r.Sequence, r.Hash}, r.Time
	if hash, wanted := v.wanted[r.Sequence]; wanted {
		if hash != r.Hash {
			v.report.find(Finding{Segment: v.name, What: fmt.Sprintf("record %d is another than its head says", r.Sequence)})
		}
		delete(v.wanted, r.Sequence)
	}
	switch r.Kind {
	case KindIntent:
		v.intents[r.Sequence] = Unknown{Sequence: r.Sequence, Time: r.Time, Operation: r.Operation, UnderWay: true}
	case KindResult:
		delete(v.intents, r.Of)
	case KindRetired:
		retired := *r
		v.retired = &retired
	case KindOpen, KindClose:
		for n, u := range v.intents {
			u.UnderWay = false
			v.intents[n] = u
		}
		if len(r.Found) > 0 {
			v.report.note("when the log was opened as record %d: %s", r.Sequence, cut(strings.Join(r.Found, "; ")))
		}
	}
}

// finish says what only the end shows; whole: all segments that there are were read.
func (v *verifier) finish(whole bool) {
	v.report.Torn = v.torn
	for _, u := range v.intents {
		v.report.Unknown = append(v.report.Unknown, u)
	}
	slices.SortFunc(v.report.Unknown, func(a, b Unknown) int { return cmp.Compare(a.Sequence, b.Sequence) })
	if whole {
		v.beginning()
	}
	for sequence := range v.wanted {
		switch {
		case v.started && sequence < v.report.First:
			v.report.note("record %d, which a head has, is before the first that is left", sequence)
		case sequence > v.report.Head.Sequence && whole:
			v.find("records %d to %d are missing at the end, which a head has", v.report.Head.Sequence+1, sequence)
		case sequence > v.report.Head.Sequence:
			v.report.note("record %d, which a head has, is after this segment", sequence)
		default:
			v.find("record %d, which a head has, is missing", sequence)
		}
	}
}

// beginning checks that what is missing at the beginning was deleted for its age.
func (v *verifier) beginning() {
	f := v.first
	switch {
	case f == nil: // damaged, or nothing is there, which is told
	case f.Segment == nil || f.Segment.Index == 1:
		if f.Sequence != 1 || f.Previous != zeroHash {
			v.find("records before %d are missing", f.Sequence)
		}
	case v.retired == nil || v.retired.Through < f.Segment.Index-1:
		v.find("segments before %d are missing, and no record says that they were deleted for their age", f.Segment.Index)
	case v.retired.Through == f.Segment.Index-1 && v.retired.LastHash != f.Previous:
		v.find("segment %d does not follow those that were deleted for their age", f.Segment.Index)
	}
}
