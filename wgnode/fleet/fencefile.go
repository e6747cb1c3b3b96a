package fleet

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/waylume/waylume/internal/durable"
	"github.com/waylume/waylume/registry"
)

const (
	fenceFormat  = "waylume-released"
	fenceVersion = 1
)

// fenceFile is the file as it is written.
type fenceFile struct {
	Format   string            `json:"format"`
	Version  int               `json:"version"`
	Released []releasedSession `json:"released"`
}

type releasedSession struct {
	Session    registry.SessionID `json:"session"`
	Generation int64              `json:"generation"`
	At         time.Time          `json:"at"`
}

// readStones reads the file; one that is not there is empty.
func readStones(path string) (map[registry.SessionID]stone, error) {
	stones := make(map[registry.SessionID]stone)
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		_, err := os.Stat(filepath.Dir(path)) // else that would first be noticed when there is something to keep
		return stones, err
	}
	if err != nil {
		return nil, err
	}
	var f fenceFile
	err = json.Unmarshal(data, &f)
	if err == nil && (f.Format != fenceFormat || f.Version != fenceVersion) {
		err = fmt.Errorf("it is %q of version %d, not %q of version %d", f.Format, f.Version, fenceFormat, fenceVersion)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w: move it away, and for the next minute a session that has left may come back", ErrFence, path, err)
	}
	for _, r := range f.Released {
		stones[r.Session] = stone{r.Generation, r.At}
	}
	return stones, durable.Sweep(path)
}

// writeStones puts the file on the disk, whole.
func writeStones(path string, stones map[registry.SessionID]stone) (err error) {
	f := fenceFile{Format: fenceFormat, Version: fenceVersion, Released: make([]releasedSession, 0, len(stones))}
	for session, s := range stones {
		f.Released = append(f.Released, releasedSession{session, s.generation, s.at.UTC()})
	}
	slices.SortFunc(f.Released, func(a, b releasedSession) int { return cmp.Compare(a.Session, b.Session) })
	data, err := json.Marshal(f)
	if err != nil {
		return err
	}
	temporary, err := os.CreateTemp(filepath.Dir(path), durable.Prefix(path)+"*")
	if err != nil {
		return err
	}
	_, err = temporary.Write(append(data, '\n'))
	if err == nil {
		err = temporary.Sync()
	}
	if err = errors.Join(err, temporary.Close()); err == nil {
		err = os.Rename(temporary.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(temporary.Name()))
	}
	return durable.SyncDir(filepath.Dir(path))
}
