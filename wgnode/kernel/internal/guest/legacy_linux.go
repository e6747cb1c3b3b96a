package guest

import (
	"bytes"
	"os"
)

// Legacy reports whether there are tables of iptables-legacy in the calling thread's network namespace. Nothing tells whether
// they drop anything, as they can be read only in a protocol of their own.
func Legacy() bool {
	for _, name := range []string{"ip_tables_names", "ip6_tables_names"} {
		// The file is not there where the kernel has no such tables.
		if names, err := os.ReadFile("/proc/thread-self/net/" + name); err == nil && len(bytes.TrimSpace(names)) > 0 {
			return true
		}
	}
	return false
}
