package boltstore

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"

	"github.com/waylume/waylume/wgnode"
)

// maxProblems is how many problems are put into words; the others are counted.
const maxProblems = 20

// audit is a look at all of a file: that its pages make up trees, that no page which holds records is free, that every
// record has its checksum, and that there are as many as were committed. It never writes, and believes nothing it reads.
type audit struct {
	file  io.ReaderAt
	size  int64
	known uint64 // the newest schema that the program knows

	root   root
	broken error // what is wrong with the other root page

	used          []bool   // by page that is in the file: it was come across
	buffers       [][]byte // by depth: the page that is being looked at
	problems      []string
	more          int // problems beyond maxProblems
	meta, records bool
	schema        uint64
	committed     uint64 // how many records there should be
	kinds         map[wgnode.RecordKind]*KindReport
	free, lost    uint64 // pages on the list of free pages; pages that are nowhere
}

// newAudit looks at a file of a size. An error is a failure to read, and no damage.
func newAudit(file io.ReaderAt, size int64, known uint64) *audit {
	a := &audit{file: file, size: size, known: known, kinds: make(map[wgnode.RecordKind]*KindReport)}
	if size == 0 {
		a.problem("it is empty, which the state of a node never is; delete it only if no node ever used it")
		return a
	}
	var err error
	if a.root, a.broken, err = readRoots(file); err != nil {
		a.problem("%v", err)
		return a
	}
	there := (uint64(size) + uint64(a.root.pageSize) - 1) / uint64(a.root.pageSize)
	if a.root.pages > there || a.root.pages*uint64(a.root.pageSize) > uint64(size) {
		a.problem("it was cut off: it has %d bytes, and %d pages of %d bytes are in use", size, a.root.pages, a.root.pageSize)
	}
	a.used = make([]bool, min(a.root.pages, there))
	a.tree(a.root.bucket, 0, bounds{}, "buckets", a.bucketOfBuckets)
	a.freelist()
	a.conclude()
	return a
}

func (a *audit) problem(format string, args ...any) {
	if len(a.problems) == maxProblems {
		a.more++
		return
	}
	a.problems = append(a.problems, fmt.Sprintf(format, args...))
}

// err is what keeps the file from being used.
func (a *audit) err() error {
	switch {
	case a.schema > a.known:
		return fmt.Errorf("%w: it has schema version %d, and this program knows none after %d", ErrNewer, a.schema, a.known)
	case len(a.problems) == 0 && !a.meta && !a.records:
		return ErrForeign
	case len(a.problems) > 0:
		text := a.problems[0]
		if others := len(a.problems) + a.more - 1; others > 0 {
			text += fmt.Sprintf(" (and %d problems more)", others)
		}
		return fmt.Errorf("%w: %s", ErrDamaged, text)
	case a.broken != nil:
		// bbolt would go on from the other root page without a word, and so lose a commit that was acknowledged: a write of
		// a root page, which fits a sector of the disk, is not cut in half by a power failure.
		return fmt.Errorf("%w: %w; the other root page is sound, and is of the last commit or of the one before", ErrDamaged, a.broken)
	}
	return nil
}

// onlyOlder says that nothing is wrong but a root page.
func (a *audit) onlyOlder() bool {
	return a.broken != nil && len(a.problems) == 0 && a.meta && a.schema <= a.known
}

// bucketOfBuckets looks into what is at the top.
func (a *audit) bucketOfBuckets(depth int, e element) {
	switch string(e.key) {
	case string(metaBucket()):
		a.meta = true
		a.bucket(depth, e, "the schema and the number of records", a.metaEntry)
	case string(recordsBucket()):
		a.records = true
		a.bucket(depth, e, "the kinds of records", func(depth int, e element) {
			kind := wgnode.RecordKind(e.key)
			a.bucket(depth, e, fmt.Sprintf("records of kind %s", kind), func(_ int, e element) { a.record(kind, e) })
		})
	}
}

func (a *audit) metaEntry(_ int, e element) {
	var into *uint64
	switch string(e.key) {
	case string(schemaKey()):
		into = &a.schema
	case string(countKey()):
		into = &a.committed
	default:
		return
	}
	n, err := strconv.ParseUint(string(e.value), 10, 64)
	if err != nil || e.flags != 0 {
		a.problem("its %s is %q", e.key, e.value)
	}
	*into = n
}

func (a *audit) record(kind wgnode.RecordKind, e element) {
	k := a.kinds[kind]
	if k == nil {
		k = &KindReport{Kind: kind}
		a.kinds[kind] = k
	}
	if e.flags != 0 || !sound([]byte(kind), e.key, e.value) {
		a.problem("the checksum of %s %q is wrong", kind, e.key)
		k.Damaged++
		return
	}
	k.Records++
	k.Bytes += uint64(len(e.key) + len(e.value) - sumSize)
}

// conclude compares what was found with what ought to be there.
func (a *audit) conclude() {
	var found uint64
	for _, k := range a.kinds {
		found += k.Records + k.Damaged
	}
	switch {
	case !a.meta && !a.records:
	case a.meta != a.records:
		a.problem("one of its buckets %q and %q is missing", metaBucket(), recordsBucket())
	case a.schema == 0:
		a.problem("it has no version of its schema")
	case a.schema <= a.known && found != a.committed:
		a.problem("it has %d records, and %d were committed", found, a.committed)
	}
}

// sortedKinds are the kinds by name.
func (a *audit) sortedKinds() []KindReport {
	var kinds []KindReport
	for _, k := range slices.SortedFunc(maps.Values(a.kinds), func(a, b *KindReport) int { return cmp.Compare(a.Kind, b.Kind) }) {
		kinds = append(kinds, *k)
	}
	return kinds
}
