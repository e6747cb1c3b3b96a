package boltstore

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"iter"
	"strconv"

	bolt "go.etcd.io/bbolt"

	"github.com/waylume/waylume/wgnode"
)

const (
	// pageSize is how many records Load reads in one transaction.
	pageSize = 512
	// mappedWrites is how many records may be written before the memory by which the file is mapped is given back. Each reads the way to
	// its page, and Linux maps 64 KiB where a page is missing: 16 MiB at most.
	mappedWrites = 256
	// sumSize is the length of the checksum before a value.
	sumSize = 4
)

// Load yields every record. It reads page by page, so that no transaction is open while the loop's body runs: what is
// committed meanwhile it may yield or not. A record whose checksum is wrong, and a number of records that is not what was
// committed, are [ErrDamaged].
func (s *Store) Load(ctx context.Context) iter.Seq2[wgnode.Record, error] {
	return func(yield func(wgnode.Record, error) bool) {
		defer s.release()
		var last wgnode.Record
		var total, first uint64
		still := true // no commit came between
		for {
			page, err := s.loadPage(ctx, last)
			for _, r := range page.records {
				if !yield(r, nil) {
					return
				}
				last = r
			}
			if total == 0 {
				first = page.commit
			}
			still = still && page.commit == first
			total += uint64(len(page.records))
			if err == nil && len(page.records) < pageSize {
				if !still || total == page.committed {
					return
				}
				err = explain("load", s.path, fmt.Errorf("%w: it has %d records, and %d were committed", ErrDamaged, total, page.committed))
			}
			if err != nil {
				yield(wgnode.Record{}, err)
				return
			}
		}
	}
}

// loadedPage is some of the records.
type loadedPage struct {
	records           []wgnode.Record
	commit, committed uint64 // number of the commit that left them; how many records it left
}

func (s *Store) loadPage(ctx context.Context, last wgnode.Record) (page loadedPage, err error) {
	if ctx.Err() != nil {
		return loadedPage{}, context.Cause(ctx)
	}
	err = s.guard("load", func() error {
		return s.db.View(func(tx *bolt.Tx) (err error) {
			page.commit = uint64(tx.ID())
			if page.committed, err = number(tx.Bucket(metaBucket()), countKey()); err != nil {
				return err
			}
			page.records, err = readPage(tx, last)
			return err
		})
	})
	return page, err
}

// readPage copies the records that follow one in the order of the file, up to one that is damaged.
func readPage(tx *bolt.Tx, last wgnode.Record) (page []wgnode.Record, err error) {
	records := tx.Bucket(recordsBucket())
	kinds := records.Cursor()
	for kind, _ := kinds.Seek([]byte(last.Kind)); kind != nil; kind, _ = kinds.Next() {
		bucket := records.Bucket(kind)
		if bucket == nil {
			return page, fmt.Errorf("%w: %q is not a kind of records", ErrDamaged, kind)
		}
		entries := bucket.Cursor()
		key, value := entries.First()
		if string(kind) == string(last.Kind) {
			if key, value = entries.Seek([]byte(last.Key)); string(key) == last.Key {
				key, value = entries.Next()
			}
		}
		for ; key != nil; key, value = entries.Next() {
			if len(page) == pageSize {
				return page, nil
			}
			r, err := open(kind, key, value)
			if err != nil {
				return page, err
			}
			page = append(page, r)
		}
	}
	return page, nil
}

// Commit writes the batch in one transaction, and returns when it is on the disk. After an error it may have been written or
// not; a later Commit first makes sure of what was, so that no failure of the disk spoils what is committed after it.
func (s *Store) Commit(ctx context.Context, batch []wgnode.Mutation) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err := s.heal(); err != nil {
		return err
	}
	err := s.guard("commit", func() error {
		return s.db.Update(func(tx *bolt.Tx) error {
			meta, records := tx.Bucket(metaBucket()), tx.Bucket(recordsBucket())
			count, err := number(meta, countKey())
			if err != nil {
				return err
			}
			for _, m := range batch {
				before, after, err := apply(records, m)
				if err != nil {
					return fmt.Errorf("%s %q: %w", m.Kind, m.Key, err)
				}
				count += after - before
			}
			return putNumber(meta, countKey(), count)
		})
	})
	if err != nil {
		s.suspect.Store(true)
		return err
	}
	if s.written.Add(int64(len(batch))) >= mappedWrites {
		s.written.Store(0)
		s.release()
	}
	return nil
}

// apply makes one mutation, and returns how many records of its kind and key there were and are: 0 or 1.
func apply(records *bolt.Bucket, m wgnode.Mutation) (before, after uint64, err error) {
	kind, key := []byte(m.Kind), []byte(m.Key)
	bucket := records.Bucket(kind)
	if bucket != nil && bucket.Get(key) != nil {
		before = 1
	}
	if m.Delete {
		if before == 0 {
			return 0, 0, nil
		}
		return before, 0, bucket.Delete(key)
	}
	if bucket == nil {
		if bucket, err = records.CreateBucket(kind); err != nil {
			return 0, 0, err
		}
	}
	return before, 1, bucket.Put(key, seal(m.Record))
}

// seal puts the checksum before the value.
func seal(r wgnode.Record) []byte {
	sealed := make([]byte, sumSize, sumSize+len(r.Value))
	binary.BigEndian.PutUint32(sealed, checksum([]byte(r.Kind), []byte(r.Key), r.Value))
	return append(sealed, r.Value...)
}

// open copies a record out of the file's memory map.
func open(kind, key, sealed []byte) (wgnode.Record, error) {
	if !sound(kind, key, sealed) {
		return wgnode.Record{}, fmt.Errorf("%w: the checksum of %s %q is wrong", ErrDamaged, kind, key)
	}
	return wgnode.Record{
		Kind:  wgnode.RecordKind(kind),
		Key:   string(key),
		Value: append([]byte(nil), sealed[sumSize:]...),
	}, nil
}

// sound says whether a value has its checksum.
func sound(kind, key, sealed []byte) bool {
	return len(sealed) >= sumSize && binary.BigEndian.Uint32(sealed) == checksum(kind, key, sealed[sumSize:])
}

func checksum(kind, key, value []byte) uint32 {
	table := crc32.MakeTable(crc32.Castagnoli)
	sum := crc32.Update(0, table, kind)
	sum = crc32.Update(sum, table, []byte{0})
	sum = crc32.Update(sum, table, key)
	sum = crc32.Update(sum, table, []byte{0})
	return crc32.Update(sum, table, value)
}

// number reads a number of the meta bucket.
func number(meta *bolt.Bucket, key []byte) (uint64, error) {
	text := meta.Get(key)
	n, err := strconv.ParseUint(string(text), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%w: its %s is %q", ErrDamaged, key, text)
	}
	return n, nil
}

func putNumber(meta *bolt.Bucket, key []byte, n uint64) error {
	return meta.Put(key, strconv.AppendUint(nil, n, 10))
}
