package boltstore

import (
	"fmt"
	"strings"

	"github.com/waylume/waylume/wgnode"
)

// Report is what is in a file, and what is wrong with it.
type Report struct {
	// Path is the file's.
	Path string
	// Size is the file's, in bytes.
	Size int64
	// PageSize is that of bbolt's pages, in bytes. It is 0, as all below but Problems, if no root page can be used.
	PageSize int
	// Pages is how many pages are in use or free, FreePages how many are free, and LostPages how many are neither: space that
	// is never used again and harms nothing else.
	Pages, FreePages, LostPages uint64
	// Commit is the number of the last commit.
	Commit uint64
	// Schema is the version of the schema, Records how many records were committed.
	Schema, Records uint64
	// Kinds are the kinds of records that were found, in the order of their names.
	Kinds []KindReport
	// Problems say what is damaged, one in a line each. Those beyond 20 are MoreProblems.
	Problems     []string
	MoreProblems int
	// OlderSound says that all is sound but one of two root pages, so that the state is whole and is that of the last commit
	// or of the one before; see RestoreOptions.AcceptOlder.
	OlderSound bool

	err error
}

// KindReport is about the records of one kind.
type KindReport struct {
	Kind wgnode.RecordKind
	// Records is how many can be read, Damaged how many are there and have a wrong checksum.
	Records, Damaged uint64
	// Bytes is the length of the keys and values of those that can be read.
	Bytes uint64
}

func newReport(path string, a *audit) Report {
	r := Report{
		Path: path, Size: a.size, PageSize: a.root.pageSize,
		Pages: a.root.pages, FreePages: a.free, LostPages: a.lost,
		Commit: a.root.commit, Schema: a.schema, Records: a.committed, Kinds: a.sortedKinds(),
		Problems: a.problems, MoreProblems: a.more,
		OlderSound: a.onlyOlder(),
		err:        a.err(),
	}
	if a.broken != nil {
		r.Problems = append([]string{a.broken.Error()}, r.Problems...)
	}
	return r
}

// Err is nil if the file is sound, and else matches [ErrDamaged], [ErrNewer] or [ErrForeign].
func (r Report) Err() error { return r.err }

// Readable is how many records can be read.
func (r Report) Readable() uint64 {
	var n uint64
	for _, k := range r.Kinds {
		n += k.Records
	}
	return n
}

// Advice says what can be saved of a file that is not sound, and what to do, in sentences.
func (r Report) Advice() []string {
	switch {
	case r.err == nil:
		return nil
	case r.OlderSound:
		return []string{
			"One of the two root pages is damaged, and all else is whole: every record of the last commit, or of the one before it.",
			"Restore a backup if losing one change matters; else restore the file from itself with --accept-older.",
		}
	case r.Schema > currentLayout().version():
		return []string{"A newer program wrote this file. Run that one, or restore a backup that this one made."}
	case len(r.Problems) == 0:
		return []string{"This is a sound file of bbolt's that holds no state of a node. Give the path of one."}
	}
	const restore = "Restore the latest backup. No node starts on this file as it is; keep it until the node runs again."
	if r.Readable() == 0 {
		return []string{"None of its records can be read.", restore}
	}
	var kinds []string
	for _, k := range r.Kinds {
		kinds = append(kinds, fmt.Sprintf("%d of kind %s", k.Records, k.Kind))
	}
	saved := fmt.Sprintf("%d records can still be read: %s.", r.Readable(), strings.Join(kinds, ", "))
	if r.Records > 0 {
		saved = fmt.Sprintf("%d of %d records can still be read: %s.", r.Readable(), r.Records, strings.Join(kinds, ", "))
	}
	return []string{saved, restore}
}
