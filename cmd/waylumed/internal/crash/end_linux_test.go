package crash

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/waylume/waylume/cmd/waylumed/internal/state"
	"github.com/waylume/waylume/quota"
	"github.com/waylume/waylume/usagelog"
	"github.com/waylume/waylume/wgnode"
)

// endInPeace has a node end when it is asked to, after a last backup.
func (h *harness) endInPeace() error {
	l, err := h.program.up(h.program.state)
	if err != nil {
		return err
	}
	<-l.started
	if err := errors.Join(h.asker.save(filepath.Join(h.asker.backups, "last.db")), l.end()); err != nil {
		return err
	}
	if _, err := os.Lstat(state.Socket(h.program.state)); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("a node that ended in peace has left its socket: %w", err)
	}
	return h.inspectFiles()
}

// restore starts a node on the last backup, in another directory.
func (h *harness) restore(dir string) error {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	key, err := os.ReadFile(state.KeyFile(h.program.state))
	if err != nil {
		return err
	}
	if err := os.WriteFile(state.KeyFile(dir), key, 0o600); err != nil {
		return err
	}
	if _, err := h.program.must("state", "restore", h.asker.backup, state.File(dir)); err != nil {
		return err
	}
	l, err := h.program.up(dir)
	if err != nil {
		return err
	}
	select {
	case <-l.started:
	case <-l.ended:
	}
	if err := l.end(); err != nil {
		return err
	}
	now, err := records(state.File(dir))
	if err != nil {
		return err
	}
	want, err := records(state.File(h.program.state))
	if err != nil {
		return err
	}
	for id, value := range want {
		if peer := id.kind == wgnode.RecordPeerUsage || id.kind == wgnode.RecordAccountUsage; peer {
			before, _ := usageOf(want, id)
			after, err := usageOf(now, id)
			if err != nil || before.Counters != after.Counters {
				return fmt.Errorf("%s %q has %v in the backup, want %v: %w", id.kind, id.key, after.Counters, before.Counters, err)
			}
		} else if id.kind != wgnode.RecordNode && now[id] != value {
			return fmt.Errorf("%s %q is %q in the backup, want %q", id.kind, id.key, now[id], value)
		}
	}
	return nil
}

// reader opens the usage log; nil: there is none yet.
func (h *harness) reader() (*usagelog.Reader, error) {
	reader, err := usagelog.OpenReader(state.Usage(h.program.state))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return reader, err
}

func (h *harness) logged() (all map[string]quota.Counters, err error) {
	reader, err := h.reader()
	if reader == nil || err != nil {
		return nil, err
	}
	summary, err := reader.Usage(context.Background(), h.began.Add(-time.Hour), time.Now().Add(time.Hour), nil)
	if err == nil && len(summary.Damage) > 0 {
		err = fmt.Errorf("the usage log is damaged: %v", summary.Damage)
	}
	all = make(map[string]quota.Counters)
	for _, u := range summary.Usages {
		all[u.Subject.Name] = quota.Counters(u.Counters)
	}
	return all, err
}
