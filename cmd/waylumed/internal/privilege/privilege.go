package privilege

import "strings"

// Need is what a process goes on to need.
type Need struct {
	// ChangeNetwork: interfaces, routes, rules and queues (CAP_NET_ADMIN).
	ChangeNetwork bool
	// LowPorts: UDP or TCP ports that only the privileged may open, to be opened again (CAP_NET_BIND_SERVICE).
	LowPorts bool
}

// Left is what a process may do after [Drop].
type Left struct {
	// Capabilities are those that the process has and may have, as capabilities(7) names them; nil: none.
	Capabilities []string
	// NoNewPrivileges: executing a program gives none either (PR_SET_NO_NEW_PRIVS).
	NoNewPrivileges bool
	// Unsupported: this system has no such privileges, and nothing was done.
	Unsupported bool
}

// String is what is left, in words for a log.
func (l Left) String() string {
	switch {
	case l.Unsupported:
		return "this system has no capabilities to give up"
	case len(l.Capabilities) == 0:
		return "no capability, and no way to new privileges"
	}
	return "only " + strings.Join(l.Capabilities, " and ") + ", and no way to new privileges"
}
