package boltkeys

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	bolt "go.etcd.io/bbolt"

	"github.com/waylume/waylume/internal/durable"
)

// The buckets of the file.
const (
	metaBucket    = "waylume-idempotency" // says what the file is
	entriesBucket = "entries"             // idempotency.Entry by ID
	answersBucket = "answers"             // sealed, by ID

	versionKey = "version"
	secretKey  = "secret"
	version    = 1
)

// open opens the file, makes it if there is none, and looks at all entries. On an error nothing is open.
func (s *Store) open() error {
	if err := recognise(s.path); err != nil {
		return err
	}
	opts := &bolt.Options{
		Timeout: s.opts.LockTimeout, FreelistType: bolt.FreelistMapType,
		OpenFile: func(path string, flag int, mode fs.FileMode) (*os.File, error) {
			file, err := os.OpenFile(path, flag, mode)
			s.file = file
			return file, err
		},
	}
	var db *bolt.DB
	err := fenced(func() (err error) {
		db, err = bolt.Open(s.path, fileMode, opts)
		return err
	})
	if err != nil {
		if errors.Is(err, ErrDamaged) { // it panicked, and has left the file open
			err = errors.Join(err, s.abandon())
		}
		return err
	}
	db.AllocSize = growth
	if err := errors.Join(os.Chmod(s.path, fileMode), durable.SyncDir(filepath.Dir(s.path))); err != nil {
		return errors.Join(err, db.Close())
	}
	if err := fenced(func() error { return s.prepare(db) }); err != nil {
		if errors.Is(err, ErrDamaged) { // it may have panicked with a transaction open
			return errors.Join(err, s.abandon())
		}
		return errors.Join(err, db.Close())
	}
	s.db = db
	return nil
}

// abandon closes the file instead of bbolt.
func (s *Store) abandon() error {
	if err := unlockClose(s.file); !errors.Is(err, fs.ErrClosed) {
		return err
	}
	return nil // bbolt was able to
}

// prepare makes what a new file lacks, and reads an old one: its secret, every entry, and every name of an answer.
func (s *Store) prepare(db *bolt.DB) error {
	fresh := false
	err := db.View(func(tx *bolt.Tx) error {
		first, _ := tx.Cursor().First()
		fresh = first == nil
		return nil
	})
	if err != nil {
		return err
	}
	if fresh {
		if err := db.Update(lay); err != nil {
			return err
		}
	}
	return db.View(func(tx *bolt.Tx) error {
		meta, entries, answers := tx.Bucket([]byte(metaBucket)), tx.Bucket([]byte(entriesBucket)), tx.Bucket([]byte(answersBucket))
		if meta == nil {
			return ErrForeign
		}
		if v := meta.Get([]byte(versionKey)); len(v) != 1 || v[0] > version {
			return fmt.Errorf("%w: version %x", ErrNewer, v)
		}
		if copy(s.secret[:], meta.Get([]byte(secretKey))) != len(s.secret) || entries == nil || answers == nil {
			return fmt.Errorf("%w: parts of it are missing", ErrDamaged)
		}
		err := entries.ForEach(func(id, value []byte) error {
			_, err := entry(id, value)
			return err
		})
		if err != nil {
			return err
		}
		return answers.ForEach(func(id, _ []byte) error {
			if entries.Get(id) == nil {
				return fmt.Errorf("%w: an answer without an entry", ErrDamaged)
			}
			return nil
		})
	})
}

func lay(tx *bolt.Tx) error {
	for _, name := range []string{entriesBucket, answersBucket} {
		if _, err := tx.CreateBucket([]byte(name)); err != nil {
			return err
		}
	}
	meta, err := tx.CreateBucket([]byte(metaBucket))
	if err != nil {
		return err
	}
	secret := make([]byte, 32)
	_, _ = rand.Read(secret) // it never fails
	return errors.Join(meta.Put([]byte(versionKey), []byte{version}), meta.Put([]byte(secretKey), secret))
}

// recognise fails if there is something else than a file of bbolt's, so that nothing of anybody's is set aside as a damaged one.
// A file that is empty, or that begins with a page of zeros, as a power cut leaves one, is nobody's.
func recognise(path string) error {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return fmt.Errorf("%w: it is no file but %s", ErrForeign, info.Mode())
	}
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	const page = 4096
	head := make([]byte, 16*page+page)
	n, err := io.ReadFull(file, head)
	if err = errors.Join(ignoreShort(err), file.Close()); err != nil {
		return err
	}
	head = head[:n]
	if len(bytes.Trim(head[:min(n, page)], "\x00")) == 0 {
		return nil
	}
	for _, size := range []int{0, page, 2 * page, 4 * page, 16 * page} { // the second root page is where the size of one says
		magic := head[min(n, size+16):min(n, size+20)]
		if bytes.Equal(magic, []byte{0xed, 0xda, 0x0c, 0xed}) || bytes.Equal(magic, []byte{0xed, 0x0c, 0xda, 0xed}) {
			return nil
		}
	}
	return ErrForeign
}

func ignoreShort(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil
	}
	return err
}

// replace sets a damaged file aside, and begins with an empty one.
func (s *Store) replace(reason error) error {
	s.setAside = s.path + ".damaged"
	if err := os.Rename(s.path, s.setAside); err != nil {
		return errors.Join(reason, err)
	}
	s.opts.Logger.Warn("the file of idempotency keys is damaged: it is set aside, and all keys are as new",
		"file", s.path, "set_aside", s.setAside, "error", reason)
	return s.open()
}
