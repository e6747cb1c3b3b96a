package allowlist

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/failsafehttp"

	"github.com/waylume/waylume/internal/durable"
)

// Config says where a list is. One of File and URL is set.
type Config struct {
	File, URL string
	// Refresh is how often it is read, give or take a tenth, so that not all nodes ask at once.
	Refresh time.Duration
	// Last is the path of a file for the last good list; empty: it is not kept over a restart.
	Last string
	// Apply puts a list in force. It is called for one list at a time, and again with the next refresh after an error.
	Apply func(context.Context, []netip.Prefix) error
	// Client asks for the URL; nil: one with time-outs. It is tried again when that may help.
	Client *http.Client
	Logger *slog.Logger
}

// List is a list that is kept up to date.
type List struct {
	cfg Config

	mu      sync.RWMutex
	current []netip.Prefix // in force, sorted; guarded by mu
	readAt  time.Time      // when the list was last found good; guarded by mu
	err     error          // why it was not, the last time; guarded by mu

	saved bool // what is in force is kept; for whoever refreshes
}

// patience is how long one reading of a list may take, with all that is tried again.
const patience = 30 * time.Second

// New returns a list with nothing in it.
func New(cfg Config) *List {
	if cfg.Client == nil {
		cfg.Client = &http.Client{Transport: retrying(http.DefaultTransport), Timeout: patience}
	}
	return &List{cfg: cfg}
}

// retrying asks again where a server failed or could not be reached.
//
//nolint:bodyclose // there is no body yet
func retrying(inner http.RoundTripper) http.RoundTripper {
	policy := failsafehttp.NewRetryPolicyBuilder().WithMaxRetries(3).WithBackoff(200*time.Millisecond, 5*time.Second).WithJitterFactor(0.2)
	return failsafehttp.NewRoundTripper(inner, failsafe.Policy[*http.Response](policy.Build()))
}

// Load reads the list for the first time and puts it in force, or else the last good one that was kept. An error says that there is
// neither.
func (l *List) Load(ctx context.Context) error {
	err := l.refresh(ctx)
	if err == nil {
		return nil
	}
	kept, keptErr := l.kept()
	if keptErr != nil {
		return errors.Join(err, keptErr)
	}
	if kept == nil {
		return err
	}
	l.cfg.Logger.WarnContext(ctx, "the allowlist cannot be read, and the last good one is in force", "error", err, "prefixes", len(kept))
	return l.apply(ctx, kept, false)
}

// Run reads the list again and again until the context ends.
func (l *List) Run(ctx context.Context) {
	for {
		pause := l.cfg.Refresh + time.Duration((rand.Float64()-0.5)*0.2*float64(l.cfg.Refresh))
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		if err := l.refresh(ctx); err != nil && ctx.Err() == nil {
			l.cfg.Logger.WarnContext(ctx, "the allowlist was not refreshed, and stays as it was", "error", err)
		}
	}
}

// Status is how many prefixes are in force, when the list was last found good, and why it was not the last time.
func (l *List) Status() (prefixes int, readAt time.Time, err error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return len(l.current), l.readAt, l.err
}

// Prefixes are those in force.
func (l *List) Prefixes() []netip.Prefix {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return slices.Clone(l.current)
}

// Contains reports whether an address is in a prefix of the list.
func (l *List) Contains(addr netip.Addr) bool {
	addr = addr.Unmap().WithZone("")
	l.mu.RLock()
	defer l.mu.RUnlock()
	return slices.ContainsFunc(l.current, func(p netip.Prefix) bool { return p.Contains(addr) })
}

func (l *List) refresh(ctx context.Context) (err error) {
	defer func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.err = err
	}()
	text, err := l.read(ctx)
	if err != nil {
		return err
	}
	prefixes, err := Parse(text)
	if err != nil {
		return fmt.Errorf("allowlist %s: %w", l.where(), err)
	}
	return l.apply(ctx, prefixes, true)
}

func (l *List) where() string {
	if l.cfg.File != "" {
		return l.cfg.File
	}
	return l.cfg.URL
}

// apply puts a list in force if it is another, and keeps it if it is good.
func (l *List) apply(ctx context.Context, prefixes []netip.Prefix, good bool) error {
	l.mu.RLock()
	same := slices.Equal(l.current, prefixes)
	l.mu.RUnlock()
	if !same {
		if err := l.cfg.Apply(ctx, slices.Clone(prefixes)); err != nil {
			return fmt.Errorf("put the allowlist in force: %w", err)
		}
		l.cfg.Logger.InfoContext(ctx, "the allowlist is in force", "prefixes", len(prefixes))
	}
	l.mu.Lock()
	l.current = prefixes
	if good {
		l.readAt = time.Now()
	}
	l.mu.Unlock()
	if !good || l.cfg.Last == "" || same && l.saved {
		return nil
	}
	l.saved = false
	if err := l.keep(prefixes); err != nil {
		return fmt.Errorf("keep the allowlist in %s: %w", l.cfg.Last, err)
	}
	l.saved = true
	return nil
}

func (l *List) read(ctx context.Context) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if l.cfg.File != "" {
		f, err := os.Open(l.cfg.File)
		if err != nil {
			return nil, fmt.Errorf("allowlist: %w", err)
		}
		defer f.Close()
		return readAll(f)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, l.cfg.URL, nil)
	if err != nil {
		return nil, fmt.Errorf("allowlist: %w", err)
	}
	answer, err := l.cfg.Client.Do(r)
	if err != nil {
		return nil, fmt.Errorf("allowlist: %w", err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("allowlist: %s answered %s", l.cfg.URL, answer.Status)
	}
	return readAll(answer.Body)
}

func readAll(r io.Reader) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(r, MaxBytes+1))
	if err != nil {
		return nil, fmt.Errorf("allowlist: %w", err)
	}
	return text, nil
}

// kept is the last good list of an earlier process; nil: there is none.
func (l *List) kept() ([]netip.Prefix, error) {
	if l.cfg.Last == "" {
		return nil, nil
	}
	text, err := os.ReadFile(l.cfg.Last)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("allowlist: %w", err)
	}
	prefixes, err := Parse(text)
	if err != nil {
		return nil, fmt.Errorf("allowlist %s, which this program has written: %w: remove it", l.cfg.Last, err)
	}
	return prefixes, nil
}

// keep writes the list so that after a kill there is the one before or this one.
func (l *List) keep(prefixes []netip.Prefix) (err error) {
	if err := durable.Sweep(l.cfg.Last); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(l.cfg.Last), durable.Prefix(l.cfg.Last)+"*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	var text bytes.Buffer
	for _, p := range prefixes {
		fmt.Fprintln(&text, p)
	}
	_, err = f.Write(text.Bytes())
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err = os.Rename(f.Name(), l.cfg.Last); err != nil {
		return err
	}
	return durable.SyncDir(filepath.Dir(l.cfg.Last))
}
