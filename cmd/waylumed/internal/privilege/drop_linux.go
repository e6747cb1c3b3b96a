package privilege

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
	"kernel.org/pub/linux/libs/security/libcap/cap"
	"kernel.org/pub/linux/libs/security/libcap/psx"
)

// Drop gives up all capabilities but those needed, of every thread and for good: from the bounding and the ambient set as well, so
// that no program that the process executes, were there one, has others (capabilities(7)). Of those needed the process keeps what it
// has: an unprivileged process stays one. An error says what could not be given up, and the process must not go on as if it had.
func Drop(need Need) (Left, error) {
	keep := cap.NewSet()
	had := cap.GetProc()
	for _, c := range needed(need) {
		has, err := had.GetFlag(cap.Permitted, c)
		if err != nil {
			return Left{}, fmt.Errorf("privilege: look at %v: %w", c, err)
		}
		if !has {
			continue
		}
		if err := errors.Join(keep.SetFlag(cap.Permitted, true, c), keep.SetFlag(cap.Effective, true, c)); err != nil {
			return Left{}, fmt.Errorf("privilege: keep %v: %w", c, err)
		}
	}
	if err := unbind(had, keep); err != nil {
		return Left{}, err
	}
	if err := keep.SetProc(); err != nil {
		return Left{}, fmt.Errorf("privilege: give up capabilities: %w", err)
	}
	if _, _, errno := psx.Syscall6(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, 0); errno != 0 {
		return Left{}, fmt.Errorf("privilege: rule out new privileges: %w", errno)
	}
	return now()
}

func needed(need Need) (all []cap.Value) {
	if need.ChangeNetwork {
		all = append(all, cap.NET_ADMIN)
	}
	if need.LowPorts {
		all = append(all, cap.NET_BIND_SERVICE)
	}
	return all
}

// unbind empties the ambient set, and the bounding set but for what is kept, which takes CAP_SETPCAP: without that the set stays,
// and the ban on new privileges makes it of no use.
func unbind(had, keep *cap.Set) error {
	if err := cap.ResetAmbient(); err != nil {
		return fmt.Errorf("privilege: empty the ambient set: %w", err)
	}
	if can, err := had.GetFlag(cap.Effective, cap.SETPCAP); err != nil || !can {
		return err
	}
	for c := range cap.MaxBits() {
		if kept, err := keep.GetFlag(cap.Permitted, c); err != nil || kept {
			continue
		}
		if bound, err := cap.GetBound(c); err != nil || !bound {
			continue
		}
		if err := cap.DropBound(c); err != nil {
			return fmt.Errorf("privilege: take %v from the bounding set: %w", c, err)
		}
	}
	return nil
}

// now is what the process may do, as the kernel says.
func now() (Left, error) {
	set := cap.GetProc()
	var left Left
	for c := range cap.MaxBits() {
		permitted, err := set.GetFlag(cap.Permitted, c)
		if err != nil {
			return Left{}, fmt.Errorf("privilege: look at what is left: %w", err)
		}
		if permitted {
			left.Capabilities = append(left.Capabilities, strings.ToUpper(c.String()))
		}
	}
	banned, err := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)
	if err != nil {
		return Left{}, fmt.Errorf("privilege: look whether new ones are ruled out: %w", err)
	}
	left.NoNewPrivileges = banned == 1
	return left, nil
}
