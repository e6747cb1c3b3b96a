package doctor

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// look adds what Linux says.
func (h *Host) look() error {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return fmt.Errorf("ask for the kernel's release: %w", err)
	}
	h.Kernel = unix.ByteSliceToString(name.Release[:])
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var sets [2]unix.CapUserData // 32 capabilities each
	if err := unix.Capget(&header, &sets[0]); err != nil {
		return fmt.Errorf("ask for this process's capabilities: %w", err)
	}
	for _, c := range []struct {
		number uint
		name   string
	}{{unix.CAP_NET_ADMIN, "CAP_NET_ADMIN"}, {unix.CAP_SYS_ADMIN, "CAP_SYS_ADMIN"}} {
		if sets[c.number/32].Effective&(1<<(c.number%32)) != 0 {
			h.Capabilities = append(h.Capabilities, c.name)
		}
	}
	return nil
}
