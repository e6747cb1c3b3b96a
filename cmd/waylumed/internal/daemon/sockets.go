package daemon

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"

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
	c, err := net.Dial("unix", path)
	switch {
	case err == nil:
		_ = c.Close()
	case errors.Is(err, fs.ErrPermission):
		return err
	case !errors.Is(err, syscall.EAGAIN): // which is when so many wait for it that no more can
		return os.Remove(path)
	}
	return errors.New("another program serves that socket: stop it, or use another path")
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
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
			err = nil // the privilege to do it may have been given up: the next start does
		}
		l.err = errors.Join(err, l.Listener.Close())
	})
	return l.err
}

// checkInherited is for a socket that a supervisor has opened what the check of the configuration is for those that it names.
func checkInherited(cfg config.Config, name string, addr net.Addr) error {
	at, ok := addr.(*net.TCPAddr)
	if !ok {
		return nil
	}
	remote := !ofLoopback(addr)
	var lacks string
	switch {
	case name == adminSocket && remote && cfg.Admin.Pprof:
		lacks = "it shows memory of the process to who asks: switch admin.pprof off"
	case name == adminSocket:
	case cfg.API.TLS.CertFile == "" && (remote || cfg.Profile == config.Production):
		lacks = "it would be served without TLS: give api.tls.cert_file and api.tls.key_file"
	case remote && !cfg.API.Signed():
		lacks = "nobody could sign a request: give api.auth.keys, api.auth.jwks or api.tls.client_ca_file"
	case remote && cfg.API.Auth.BearerToken.Reveal() != "":
		lacks = "api.auth.bearer_token is taken on this host alone: leave it out, and sign requests"
	}
	if lacks == "" {
		return nil
	}
	return fmt.Errorf("the socket %q, which the supervisor has opened at %s: %s, or have it open a unix socket", name, at, lacks)
}

// ofLoopback reports whether only this host reaches a socket.
func ofLoopback(addr net.Addr) bool {
	at, ok := addr.(*net.TCPAddr)
	return !ok || at.IP.IsLoopback()
}

// same reports whether a socket is the one that an address of the configuration means.
func same(address config.Address, addr net.Addr) bool {
	switch at := addr.(type) {
	case *net.UnixAddr:
		return address.Network == "unix" && address.Address == at.Name
	case *net.TCPAddr:
		host, _, err := net.SplitHostPort(address.Address)
		if port, ok := address.Port(); err != nil || !ok || int(port) != at.Port {
			return false
		}
		wanted, err := netip.ParseAddr(host)
		if err != nil { // every address of the host, or localhost
			return host == "" && at.IP.IsUnspecified() || host == "localhost" && at.IP.IsLoopback()
		}
		return wanted.Unmap() == at.AddrPort().Addr().Unmap()
	}
	return false
}
