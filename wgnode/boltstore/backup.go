package boltstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	bolt "go.etcd.io/bbolt"
)

// BackupOptions are how a backup is written. The zero value is what most want.
type BackupOptions struct {
	// Overwrite replaces a file that is there; without it a backup fails with fs.ErrExist. One in use is never replaced.
	Overwrite bool
}

// Backup writes a copy of the state as it is at one moment, while the node runs. The copy is a file that [Open] takes, has
// mode 0600, and was read back and checked before it got its name: after an error, or when the context ends, path is as it was.
// No commit waits for a backup; the file grows by what is committed meanwhile.
func (s *Store) Backup(ctx context.Context, path string, opts BackupOptions) (Report, error) {
	return SaveBackup(ctx, path, opts, s.Copy)
}

// Copy writes what Backup does, for one to send it elsewhere: its receiver hands it to [SaveBackup].
func (s *Store) Copy(ctx context.Context, to io.Writer) error {
	w := &copyWriter{ctx: ctx, to: to}
	return w.cause(s.guard("backup", func() error { return writeCopy(s.db, w) }))
}

// BackupFile is [Store.Backup] of a file that no Store has open. It changes nothing in it.
func BackupFile(ctx context.Context, from, path string, opts BackupOptions) (Report, error) {
	s, err := openSound(from, false)
	if err != nil {
		return Report{}, explain("backup", from, err)
	}
	report, err := SaveBackup(ctx, path, opts, func(ctx context.Context, to io.Writer) error {
		w := &copyWriter{ctx: ctx, to: to}
		return w.cause(explain("backup", from, fenced(func() error { return writeCopy(s.db, w) })))
	})
	return report, errors.Join(err, explain("backup", from, s.close()))
}

// SaveBackup makes a backup of what copy writes, as [Store.Backup] does.
func SaveBackup(
	ctx context.Context, path string, opts BackupOptions, write func(ctx context.Context, to io.Writer) error,
) (Report, error) {
	report, err := saveBackup(ctx, path, opts, write)
	return report, explain("backup", path, err)
}

func saveBackup(
	ctx context.Context, path string, opts BackupOptions, write func(ctx context.Context, to io.Writer) error,
) (report Report, err error) {
	exists, err := regular(path)
	if err != nil {
		return Report{}, err
	}
	if exists {
		if !opts.Overwrite {
			return Report{}, fs.ErrExist
		}
		s, err := openShared(path, minTimeout)
		if err != nil {
			return Report{}, err
		}
		if err := s.close(); err != nil {
			return Report{}, err
		}
	}
	err = publish(path, opts.Overwrite, func(temporary string) error {
		report, err = fill(ctx, temporary, write)
		return err
	})
	report.Path = path
	return report, err
}

// fill writes a copy into a file, and reads it back.
func fill(ctx context.Context, path string, write func(ctx context.Context, to io.Writer) error) (Report, error) {
	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return Report{}, err
	}
	if err := errors.Join(write(ctx, file), file.Sync(), file.Close()); err != nil {
		return Report{}, err
	}
	report, err := check(path)
	if err != nil {
		return Report{}, err
	}
	if err := report.Err(); err != nil {
		return Report{}, fmt.Errorf("the copy is of no use: %w", err)
	}
	return report, ctx.Err()
}

// openSound opens a file to read if there is nothing wrong with it, or nothing that losing a commit would not mend.
func openSound(path string, acceptOlder bool) (shared, error) {
	s, err := openShared(path, minTimeout)
	if err != nil {
		return shared{}, err
	}
	a, err := inspect(path, currentLayout().version())
	if err == nil && (!acceptOlder || !a.onlyOlder()) {
		err = a.err()
	}
	if err == nil && s.db == nil {
		err = fmt.Errorf("%w: bbolt cannot open it", ErrDamaged)
	}
	if err != nil {
		return shared{}, errors.Join(err, s.close())
	}
	return s, nil
}

// writeCopy writes the state as one transaction sees it.
func writeCopy(db *bolt.DB, to *copyWriter) error {
	return db.View(func(tx *bolt.Tx) error {
		_, err := tx.WriteTo(to)
		return err
	})
}

// copyWriter writes until its context ends, and keeps the error that it fails with, of which bbolt keeps the text alone.
type copyWriter struct {
	ctx context.Context
	to  io.Writer
	err error
}

func (w *copyWriter) Write(b []byte) (n int, err error) {
	if w.ctx.Err() != nil {
		w.err = context.Cause(w.ctx)
		return 0, w.err
	}
	n, w.err = w.to.Write(b)
	return n, w.err
}

// cause is why a copy failed: what is written to is another's affair than the file.
func (w *copyWriter) cause(err error) error {
	if w.err != nil {
		return w.err
	}
	return err
}
