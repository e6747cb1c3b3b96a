package host

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/keyfile"
)

// errAddrInUse is WSAEADDRINUSE, which package syscall does not have; elsewhere there is no such number.
const errAddrInUse = syscall.Errno(10048)

// StartError says what to do about a node that did not start.
func (c Choice) StartError(names Names, err error, port uint16) error {
	switch {
	case errors.Is(err, wgnode.ErrKeyMismatch):
		return fmt.Errorf("%w\nHere these are %s and %s", err, names.PrivateKeyFile, names.AcceptNewKey)
	case errors.As(err, new(*keyfile.Error)): // it says what to do
		return err
	case errors.Is(err, syscall.EADDRINUSE), errors.Is(err, errAddrInUse):
		return fmt.Errorf("%w\nAnother program uses UDP port %d, perhaps another WireGuard: stop it, or choose a port with %s "+
			"(0: any that is free)", err, port, names.ListenPort)
	case errors.Is(err, fs.ErrPermission) && !c.Kernel: // for which much takes a permission
		return fmt.Errorf("%w\nThis user may not use UDP port %d: choose one of 1024 or more with %s", err, port, names.ListenPort)
	case c.Kernel && !c.Asked:
		return fmt.Errorf("%w\nThe kernel dataplane was chosen and did not start: mend that, or say %s %s", err, names.Dataplane, Userspace)
	}
	return err
}
