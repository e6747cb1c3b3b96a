package boltstore

import (
	"errors"
	"os"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// shared is a file that others may read and no Store may open. db is nil if bbolt refuses the file.
type shared struct{ db *bolt.DB }

// openShared waits until no Store has the file. An error is that one has, or that the file cannot be read at all.
func openShared(path string, timeout time.Duration) (shared, error) {
	if _, err := regular(path); err != nil {
		return shared{}, err
	}
	var db *bolt.DB
	err := fenced(func() (err error) {
		db, err = bolt.Open(path, fileMode, &bolt.Options{ReadOnly: true, Timeout: timeout})
		return err
	})
	if path := (*os.PathError)(nil); errors.Is(err, bolterrors.ErrTimeout) || errors.As(err, &path) && path.Op == "open" {
		return shared{}, err
	}
	if err != nil {
		return shared{}, nil //nolint:nilerr // what is wrong with the content, inspect says better
	}
	return shared{db}, nil
}

func (s shared) close() error {
	if s.db == nil {
		return nil
	}
	return s.db.Close()
}

// inspect audits a file.
func inspect(path string, known uint64) (*audit, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	a := newAudit(file, info.Size(), known)
	return a, file.Close()
}

// Check looks at all of a file and says what it holds, what is damaged, and what to do. It changes nothing, and needs a file
// that no Store has open: of one in use, check a backup. An error is that it could not look; Report.Err is what it found.
func Check(path string) (Report, error) {
	report, err := check(path)
	return report, explain("check", path, err)
}

func check(path string) (Report, error) {
	s, err := openShared(path, minTimeout)
	if err != nil {
		return Report{}, err
	}
	a, err := inspect(path, currentLayout().version())
	if err != nil {
		return Report{}, errors.Join(err, s.close())
	}
	if s.db != nil && a.err() == nil && a.lost == 0 {
		err = s.db.View(func(tx *bolt.Tx) error {
			for problem := range tx.Check() {
				a.problem("bbolt finds: %v", problem)
			}
			return nil
		})
	}
	return newReport(path, a), errors.Join(err, s.close())
}
