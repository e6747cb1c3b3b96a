package boltstore

import (
	"errors"
	"fmt"
	"io/fs"

	bolt "go.etcd.io/bbolt"
)

// The first version of the schema is
//
//	meta     schema -> version in decimal
//	         count  -> number of records in decimal
//	records  KIND   -> bucket of key -> CRC-32C of kind, key and value, then the value
//
// bbolt guards only its two root pages with checksums: the others are guarded by ours, and by the count.
const firstVersion = 1

// step changes a file from one version of the schema to the next.
type step func(tx *bolt.Tx) error

// layout is the schema that a program writes: the first version, and the steps to those after it.
type layout struct{ steps []step }

// currentLayout has no steps yet. A change of the schema appends one, and teaches audit what it changes.
func currentLayout() layout { return layout{} }

// version is the newest.
func (l layout) version() uint64 { return firstVersion + uint64(len(l.steps)) }

// migrate brings a file that is older up to the newest version: in one transaction, so that a file is of a version whole.
func (l layout) migrate(db *bolt.DB) error {
	var version uint64
	err := db.View(func(tx *bolt.Tx) (err error) {
		version, err = number(tx.Bucket(metaBucket()), schemaKey())
		return err
	})
	if err != nil || version == l.version() {
		return err
	}
	return db.Update(func(tx *bolt.Tx) error {
		for ; version < l.version(); version++ {
			if err := l.steps[version-firstVersion](tx); err != nil {
				return fmt.Errorf("migrate from schema version %d to %d: %w", version, version+1, err)
			}
		}
		return putNumber(tx.Bucket(metaBucket()), schemaKey(), version)
	})
}

// create makes a file with no records. It gets its name when it is whole: a process that dies before leaves none.
func (l layout) create(path string) error {
	err := publish(path, false, func(temporary string) error {
		db, err := bolt.Open(temporary, fileMode, nil)
		if err != nil {
			return err
		}
		err = db.Update(func(tx *bolt.Tx) error {
			meta, err := tx.CreateBucket(metaBucket())
			if err != nil {
				return err
			}
			if _, err := tx.CreateBucket(recordsBucket()); err != nil {
				return err
			}
			if err := putNumber(meta, countKey(), 0); err != nil {
				return err
			}
			return putNumber(meta, schemaKey(), l.version())
		})
		return errors.Join(err, db.Close())
	})
	if errors.Is(err, fs.ErrExist) { // another process was faster, which is as good
		return nil
	}
	return err
}

func metaBucket() []byte    { return []byte("meta") }
func recordsBucket() []byte { return []byte("records") }
func schemaKey() []byte     { return []byte("schema") }
func countKey() []byte      { return []byte("count") }
