package crash

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/waylume/waylume/cmd/waylumed/internal/status"
	"github.com/waylume/waylume/cmd/waylumed/internal/usage"
)

// asker runs commands beside a node until it is told to stop, which the node's death does not.
type asker struct {
	program program
	backups string // directory
	since   time.Time
	peers   int

	mu sync.Mutex
	// Guarded by mu.
	asked    map[string]int // answered, by command
	refused  int            // ended with an error
	backup   string         // the last that was made
	key      string         // the last that the node was given
	rotating bool           // whether it was, is not known
}

// run asks until stop is closed. Rotates says whether for other keys, too, which cuts clients off.
func (a *asker) run(r *rand.Rand, stop <-chan struct{}, rotates bool) error {
	for i := 0; ; i++ {
		select {
		case <-stop:
			return nil
		default:
		}
		var err error
		switch n := r.IntN(10); {
		case n < 3:
			err = a.status()
		case n < 6:
			err = a.usage()
		case n < 8 || !rotates:
			err = a.save(filepath.Join(a.backups, fmt.Sprintf("%d.db", r.Uint64())))
		default:
			err = a.rotate()
		}
		if err != nil {
			return err
		}
	}
}

// note counts a command that ended, and reports whether it succeeded.
func (a *asker) note(name string, o outcome) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if o.status != 0 {
		a.refused++
		return false
	}
	a.asked[name]++
	return true
}

func (a *asker) status() error {
	o, err := a.program.run("status", "--json", "--state", a.program.state)
	if err != nil || !a.note("status", o) {
		return err
	}
	var report status.Report
	if err := json.Unmarshal([]byte(o.stdout), &report); err != nil {
		return fmt.Errorf("status: %w: %s", err, o.stdout)
	}
	if n := len(report.Peers); n != a.peers && n != a.peers-1 { // one expires
		return fmt.Errorf("status shows %d peers, want %d", n, a.peers)
	}
	return nil
}

func (a *asker) usage() error {
	o, err := a.program.run("usage", "--json", "--state", a.program.state, "--from", a.since.UTC().Format(time.RFC3339))
	if err != nil || !a.note("usage", o) {
		return err
	}
	var report usage.Report
	if err := json.Unmarshal([]byte(o.stdout), &report); err != nil {
		return fmt.Errorf("usage: %w: %s", err, o.stdout)
	}
	if len(report.Damage) > 0 {
		return fmt.Errorf("usage: the log is damaged: %v", report.Damage)
	}
	return nil
}

func (a *asker) save(path string) error {
	o, err := a.program.run("backup", "--state", a.program.state, path)
	if err == nil && a.note("backup", o) {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.backup = path
	}
	return err
}

// rotate gives the node another key. One at a time does.
func (a *asker) rotate() error {
	a.mu.Lock()
	if a.rotating {
		a.mu.Unlock()
		return nil
	}
	a.rotating = true
	a.mu.Unlock()
	o, err := a.program.run("rotate-key", "--now", "--state", a.program.state)
	if err != nil || !a.note("rotate-key", o) {
		return err
	}
	_, text, ok := strings.Cut(o.stdout, "is now ")
	if !ok {
		return fmt.Errorf("rotate-key does not say which key: %s", o.stdout)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.key, a.rotating = strings.Fields(text)[0], false
	return nil
}
