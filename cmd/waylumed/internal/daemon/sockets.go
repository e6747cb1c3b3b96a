package daemon

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"sync"

	"github.com/waylume/waylume/cmd/waylumed/internal/config"
)

// listen opens a socket. Of a Unix socket mode says who may use it.
func listen(address config.Address, mode fs.FileMode) (l net.Listener, err error) {
	if address.Network == "unix" {
		l, err = listenUnix(address.Address, mode)
	} else {
		l, err = net.Listen(address.Network, address.Address)
	}
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", address, err)
	}
	return l, nil
}

// listenUnix makes a socket that has its name only when it has its mode. One that nobody serves any more is replaced.
func listenUnix(path string, mode fs.FileMode) (_ net.Listener, err error) {
	fresh := path + "~" // a path may be as long as that of a socket can be, but for this
	if err := vacate(path); err != nil {
		return nil, err
	}
	if err := os.Remove(fresh); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: fresh, Net: "unix"})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false)
	if err = os.Chmod(fresh, mode); err == nil {
		err = os.Rename(fresh, path)
	}
	if err != nil {
		return nil, errors.Join(err, l.Close(), os.Remove(fresh))
	}
	return &namedListener{Listener: l, path: path}, nil
}

// vacate sees to it that a name is free for a socket.
func vacate(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode().Type() != fs.ModeSocket:
		return errors.New("something else has that name: move it away")
	}
	if c, err := net.Dial("unix", path); err == nil {
		_ = c.Close()
		return errors.New("another program serves that socket: stop it, or use another path")
	}
	return os.Remove(path)
}

// namedListener takes its name away when it is closed, once: later the name may be another's.
type namedListener struct {
	net.Listener
	path string
	once sync.Once
	err  error
}

func (l *namedListener) Addr() net.Addr { return &net.UnixAddr{Name: l.path, Net: "unix"} }

func (l *namedListener) Close() error {
	l.once.Do(func() {
		err := os.Remove(l.path)
		if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
		l.err = errors.Join(err, l.Listener.Close())
	})
	return l.err
}
