package membership

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/waylume/waylume/registry"
)

// maxLastReports bounds how many usage reports Leave sends: what was used in a day or so at most.
const maxLastReports = 100

// Leave takes the node off the fleet: its sessions are moved at once. It reports what usage is known, and then deregisters; where Run
// still runs, it asks nothing more from then on. Leave tries until the context ends, and then returns why it failed. It may be
// called without Run, by a process that has the state file to itself. A node that never registered has left.
func (m *Member) Leave(ctx context.Context) error {
	m.halt()
	m.mu.Lock()
	finished, phase := m.finished, m.state.Phase
	m.mu.Unlock()
	if phase == Superseded {
		return fmt.Errorf("membership: leave: it is for the other process to say: %w", registry.ErrSuperseded)
	}
	if finished != nil { // a heartbeat that is under way would bring the node back
		select {
		case <-finished:
		case <-ctx.Done():
			return fmt.Errorf("membership: leave: a call is under way still: %w", ctx.Err())
		}
	}
	if err := m.load(); err != nil {
		return err
	}
	server := m.store.known().Server
	if server != "" {
		m.reportLast(ctx)
		if err := m.deregister(ctx, server); err != nil {
			return fmt.Errorf("membership: leave: %w", err)
		}
	}
	m.mu.Lock()
	m.state.Registered = false
	was, _ := m.enterLocked(Left)
	m.mu.Unlock()
	if was != Left {
		m.log(slog.LevelInfo, "node has left the fleet", "server", server)
	}
	return nil
}

// reportLast is worth a try: the node may never come back.
func (m *Member) reportLast(ctx context.Context) {
	if m.cfg.Usage == nil {
		return
	}
	for range maxLastReports {
		more, err := m.report(ctx)
		if err != nil {
			m.log(slog.LevelWarn, "not all usage was reported before leaving", "error", err)
		}
		if err != nil || !more {
			return
		}
	}
	m.log(slog.LevelWarn, "not all usage was reported before leaving", "reports", maxLastReports)
}

func (m *Member) deregister(ctx context.Context, server registry.ID) error {
	for failures := 1; ; failures++ {
		limited, cancel := context.WithTimeout(ctx, m.cfg.Timeout)
		err := m.cfg.Registry.Deregister(limited, server)
		cancel()
		if answered(err) {
			if errors.Is(err, registry.ErrUnknownServer) {
				return nil
			}
			return err
		}
		// Somebody waits for it: the backoff alone has it not be too often, and what the registry asks for.
		if !pause(ctx, m.pace.afterError(err, failures, m.cfg.Interval)) {
			return errors.Join(err, ctx.Err())
		}
	}
}
