package service

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"time"

	"github.com/coreos/go-systemd/v22/activation"
	"github.com/coreos/go-systemd/v22/daemon"
)

// Supervisor is told how a daemon is. It is for one goroutine at a time, but for [Supervisor.Watch].
type Supervisor struct {
	log   *slog.Logger
	every time.Duration // within which the watchdog must hear; 0: there is none
}

// New looks for a supervisor in the environment. An error says that what the environment says makes no sense.
func New(log *slog.Logger) (*Supervisor, error) {
	every, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		return nil, fmt.Errorf("service: WATCHDOG_USEC and WATCHDOG_PID: %w", err)
	}
	return &Supervisor{log: log, every: every}, nil
}

// Supervised reports that somebody listens.
func (s *Supervisor) Supervised() bool { return os.Getenv("NOTIFY_SOCKET") != "" }

// Ready says that the daemon is at work, and in words how.
func (s *Supervisor) Ready(status string) {
	s.notify(daemon.SdNotifyReady + "\nSTATUS=" + oneLine(status))
}

// Status says in words how the daemon is.
func (s *Supervisor) Status(status string) { s.notify("STATUS=" + oneLine(status)) }

// Reloading says that the daemon takes over a new configuration, until Ready says that it has.
func (s *Supervisor) Reloading() {
	s.notify(daemon.SdNotifyReloading + "\n" + daemon.SdNotifyMonotonicUsec())
}

// Stopping says that the daemon comes to its end, which takes at most so long.
func (s *Supervisor) Stopping(atMost time.Duration) {
	s.notify(fmt.Sprintf("%s\nEXTEND_TIMEOUT_USEC=%d", daemon.SdNotifyStopping, atMost.Microseconds()))
}

// Watch tells the watchdog, until the context ends, that the daemon is well while check says so. A daemon that hangs is killed by
// its supervisor and started anew. Without a watchdog it returns at once.
func (s *Supervisor) Watch(ctx context.Context, check func(context.Context) error) {
	if s.every == 0 {
		return
	}
	pause := s.every / 2 // as sd_watchdog_enabled(3) recommends
	ticker := time.NewTicker(pause)
	defer ticker.Stop()
	for {
		bounded, cancel := context.WithTimeout(ctx, pause)
		err := check(bounded)
		cancel()
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			s.log.Error("the watchdog is not told that all is well", "error", err)
		default:
			s.notify(daemon.SdNotifyWatchdog)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

func (s *Supervisor) notify(state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		s.log.Warn("the supervisor was not told", "error", err)
	}
}

// oneLine keeps a text from being taken for more than one assignment.
func oneLine(text string) string {
	clean := []byte(text)
	for i, c := range clean {
		if c == '\n' || c == '\r' {
			clean[i] = ' '
		}
	}
	return string(clean)
}

// Listeners are the sockets that the supervisor has opened, by the name that FileDescriptorName= gives them, which is the unit's
// where nobody gave one. It takes them out of the environment: a second call has none. After an error none is open.
func Listeners() (map[string][]net.Listener, error) {
	files := activation.Files(true)
	listeners := make(map[string][]net.Listener)
	var errs []error
	for _, f := range files {
		l, err := net.FileListener(f)
		if err != nil {
			errs = append(errs, fmt.Errorf("service: the socket %q that the supervisor has opened: %w (is it of ListenStream=?)", f.Name(), err))
		} else {
			listeners[f.Name()] = append(listeners[f.Name()], l)
		}
		errs = append(errs, f.Close()) // the listener has a copy
	}
	if err := errors.Join(errs...); err != nil {
		for _, all := range listeners {
			for _, l := range all {
				_ = l.Close()
			}
		}
		return nil, err
	}
	return listeners, nil
}
