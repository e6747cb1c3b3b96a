package state

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/waylume/waylume/cmd/waylumed/internal/control"
	"github.com/waylume/waylume/wgnode/boltstore"
)

// File is the state's file in a node's directory.
func File(dir string) string { return filepath.Join(dir, "node.db") }

// Usage is the directory of the usage log in a node's directory.
func Usage(dir string) string { return filepath.Join(dir, "usage") }

// Socket is the control socket in a node's directory.
func Socket(dir string) string { return filepath.Join(dir, "node.sock") }

// KeyFile is the file of the node's private key in a node's directory, unless it was told another.
func KeyFile(dir string) string { return filepath.Join(dir, "node.key") }

// AboutKey says where the private key is that goes with a state in a directory, and that a copy of the state does not have.
func AboutKey(dir string) string {
	if _, err := os.Stat(KeyFile(dir)); err != nil {
		return "The node's private key is in a file of its own, which 'waylumed up' was told or makes as " + KeyFile(dir) +
			".\nNo backup has it: keep a copy of it too. Without it, no device of a peer can connect."
	}
	return "The node's private key is in " + KeyFile(dir) + ", unless 'waylumed up' was told another file.\n" +
		"No backup has it: keep a copy of it too. Without it, no device of a peer can connect."
}

// Backup makes a backup of the state in a directory: through the node if one runs on it, else from the file. running says
// which.
func Backup(ctx context.Context, dir, path string, opts boltstore.BackupOptions) (r boltstore.Report, running bool, err error) {
	r, err = boltstore.SaveBackup(ctx, path, opts, func(ctx context.Context, to io.Writer) error {
		return control.Copy(ctx, Socket(dir), to)
	})
	if !errors.Is(err, control.ErrNobody) {
		return r, true, words(err)
	}
	r, err = boltstore.BackupFile(ctx, File(dir), path, opts)
	if errors.Is(err, boltstore.ErrLocked) {
		err = fmt.Errorf("%w\nA node runs on %s and does not answer at %s: stop it for a backup", err, dir, Socket(dir))
	}
	return r, false, words(err)
}

// words says what to do about an error.
func words(err error) error {
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%w\nThere is a file already: name another one, or say --force", err)
	}
	return err
}

// Show says what is in a file.
func Show(w io.Writer, r boltstore.Report) {
	verdict := "sound"
	if err := r.Err(); err != nil {
		verdict = err.Error()
	}
	fmt.Fprintf(w, "%s: %s\n", r.Path, verdict)
	fmt.Fprintf(w, "  size      %d bytes\n", r.Size)
	if r.PageSize > 0 {
		fmt.Fprintf(w, "  pages     %d of %d bytes, %d of them free\n", r.Pages, r.PageSize, r.FreePages)
		fmt.Fprintf(w, "  commits   %d\n", r.Commit)
	}
	if r.Schema > 0 {
		fmt.Fprintf(w, "  schema    version %d\n", r.Schema)
		fmt.Fprintf(w, "  records   %d\n", r.Records)
	}
	for _, k := range r.Kinds {
		fmt.Fprintf(w, "    %-16s %d, %d bytes", k.Kind, k.Records, k.Bytes)
		if k.Damaged > 0 {
			fmt.Fprintf(w, ", and %d damaged", k.Damaged)
		}
		fmt.Fprintln(w)
	}
	if r.LostPages > 0 {
		fmt.Fprintf(w, "  %d pages are in no use and not free: lost space, harmless\n", r.LostPages)
	}
	if len(r.Problems) > 0 {
		fmt.Fprintln(w, "What is wrong:")
	}
	for _, problem := range r.Problems {
		fmt.Fprintf(w, "  %s\n", problem)
	}
	if r.MoreProblems > 0 {
		fmt.Fprintf(w, "  and %d problems more\n", r.MoreProblems)
	}
	if advice := r.Advice(); len(advice) > 0 {
		fmt.Fprintln(w, "What to do:")
		for _, line := range advice {
			fmt.Fprintf(w, "  %s\n", line)
		}
	}
}
