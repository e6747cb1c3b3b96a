package wgdev

import (
	"errors"
	"fmt"
	"os"

	"github.com/mdlayher/genetlink"
	"golang.org/x/sys/unix"

	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/kernel/internal/link"
)

var errClosed = errors.New("the device is not open, or has been opened before")

// What a host must have.
const (
	needModule = "the WireGuard module is required: a kernel of 5.6 or newer with CONFIG_WIREGUARD; load it with: modprobe wireguard"
	needTUN    = "TUN devices are required: a kernel with CONFIG_TUN, and " + tunPath + "; load it with: modprobe tun; " +
		"give a container the device with: --device " + tunPath
)

const tunPath = "/dev/net/tun"

// SupportedModule returns nil when the kernel has its WireGuard module and this process may use it; an error that matches
// [wgnode.ErrNotSupported] and says what is required when there is none; one that matches os.ErrPermission when the
// privilege is missing; any other error says nothing for sure. The kernel loads the module for it where it can.
func SupportedModule(conn *link.Conn) error {
	generic, err := genetlink.Dial(nil)
	if err != nil {
		return fmt.Errorf("wgdev: connect to generic netlink: %w", err)
	}
	_, err = generic.GetFamily(unix.WG_GENL_NAME)
	_ = generic.Close()
	switch {
	case errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("wgdev: %w", notSupported(needModule, err))
	case err != nil:
		return fmt.Errorf("wgdev: ask the kernel for WireGuard: %w", explain(err))
	}
	return conn.Privileged()
}

// SupportedTUN is [SupportedModule] for TUN devices.
func SupportedTUN(conn *link.Conn) error {
	fd, err := unix.Open(tunPath, unix.O_RDWR|unix.O_CLOEXEC, 0)
	switch {
	case err == nil:
		_ = unix.Close(fd)
		return conn.Privileged()
	default:
		return openError(err)
	}
}

// openError says what it means that /dev/net/tun does not open.
func openError(err error) error {
	switch {
	case errors.Is(err, os.ErrNotExist), errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENXIO):
		return fmt.Errorf("wgdev: open %s: %w", tunPath, notSupported(needTUN, err))
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("wgdev: open %s: %w: run as root or with CAP_NET_ADMIN; a container needs --device %s", tunPath, err, tunPath)
	}
	return fmt.Errorf("wgdev: open %s: %w", tunPath, err)
}

func notSupported(need string, err error) error {
	return fmt.Errorf("%w: %s (%w)", wgnode.ErrNotSupported, need, err)
}

// explainPort says which port it is that is taken.
func explainPort(err error, port uint16) error {
	if errors.Is(err, unix.EADDRINUSE) {
		return fmt.Errorf("UDP port %d is taken by another program: choose another, or end that program: %w", port, err)
	}
	return err
}
