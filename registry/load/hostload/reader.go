package hostload

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"time"

	"github.com/waylume/waylume/registry"
	"github.com/waylume/waylume/registry/load"
)

// Conditions that a caller may want to tell apart with [errors.Is].
var (
	// ErrNotSupported: the system is not Linux, and nothing is known of it.
	ErrNotSupported = errors.New("a host's load can be measured on Linux only")
	// ErrNoUplink: there is no default route.
	ErrNoUplink = errors.New("there is no default route that would show the uplink: name its interface")
)

// Config says what to read. The zero value reads this host.
type Config struct {
	// Root is the file system that has proc and sys. Nil: the system's own.
	Root fs.FS
	// Uplink is the interface whose traffic is the node's, 1 to 15 bytes. Empty: that of the default route.
	Uplink string
	// Capacity is what the uplink carries each way, in bit/s. 0: what the interface says, if it does.
	Capacity int64
}

// maxName is the longest name of an interface: IFNAMSIZ of linux/if.h, less the zero byte.
const maxName = 15

func (c Config) validate() error {
	var errs []error
	if len(c.Uplink) > maxName || strings.ContainsAny(c.Uplink, "/: \t\n") || c.Uplink == "." || c.Uplink == ".." {
		errs = append(errs, fmt.Errorf("%w: Uplink %q is no name of an interface: use one such as eth0, or none for that of the default route",
			registry.ErrInvalid, c.Uplink))
	}
	if c.Capacity < 0 {
		errs = append(errs, fmt.Errorf("%w: Capacity %d: use bit/s, or 0 for what the interface says", registry.ErrInvalid, c.Capacity))
	}
	return errors.Join(errs...)
}

// Reader takes samples of a host. Its methods may be called from any goroutine.
type Reader struct {
	cfg  Config
	root tree

	mu    sync.Mutex // guards what follows
	quota quota
	speed speed
}

// New returns a reader, which has read nothing yet. Errors match [registry.ErrInvalid].
func New(cfg Config) (*Reader, error) {
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("hostload: %w", err)
	}
	if cfg.Root == nil {
		cfg.Root = systemRoot()
	}
	return &Reader{cfg: cfg, root: tree{cfg.Root}}, nil
}

var _ load.Source = (*Reader)(nil).Sample

// Sample reads the host. With an error, which names all that should be there and could not be read, the rest of the sample is what it
// should be. Peers are not known here.
func (r *Reader) Sample(ctx context.Context) (load.Sample, error) {
	s := load.Sample{At: time.Now()}
	if err := ctx.Err(); err != nil {
		return s, err
	}
	if r.root.FS == nil {
		return s, fmt.Errorf("hostload: %w", ErrNotSupported)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	groups, err := r.root.groups()
	errs := []error{err}
	note := func(err error) { errs = append(errs, err) }
	s.CPU, err = r.root.processors()
	note(err)
	s.Quota, err = r.quota.read(r.root, groups, s.At)
	note(err)
	s.Memory, err = r.root.memory(groups)
	note(err)
	s.Conntrack, err = r.root.conntrack()
	note(err)
	s.Uplink, err = r.uplink(s.At)
	note(err)
	if err := errors.Join(errs...); err != nil {
		return s, fmt.Errorf("hostload: %w", err)
	}
	return s, nil
}
