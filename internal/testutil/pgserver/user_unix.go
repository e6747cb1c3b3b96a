//go:build unix

package pgserver

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	osuser "os/user" //nolint:depguard // PostgreSQL does not run as root
	"strconv"
	"syscall"
)

// user is whom PostgreSQL runs as: nil is whoever runs the tests.
type user struct {
	credential *syscall.Credential
}

func findUser() (user, error) {
	if os.Geteuid() != 0 {
		return user{}, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := osuser.Lookup(name)
		if errors.As(err, new(osuser.UnknownUserError)) {
			continue
		}
		if err != nil {
			return user{}, err
		}
		uid, err := strconv.ParseUint(u.Uid, 10, 32)
		if err != nil {
			return user{}, err
		}
		gid, err := strconv.ParseUint(u.Gid, 10, 32)
		if err != nil {
			return user{}, err
		}
		found := user{&syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
		return found, found.exists()
	}
	return user{}, errors.New("needs a user for PostgreSQL, which refuses to run as root: neither postgres nor nobody is there")
}

// exists says whether this process may be that user: root of a user namespace may not be one that the namespace does not have.
func (u user) exists() error {
	dir, err := os.MkdirTemp("", "waylume-pg-user-")
	if err != nil {
		return err
	}
	if err = u.own(dir); errors.Is(err, syscall.EINVAL) {
		err = fmt.Errorf("needs a user for PostgreSQL, which refuses to run as root, and this user namespace has no other: run it as root: %w", err)
	}
	return errors.Join(err, os.Remove(dir))
}

// command is one that the user runs.
func (u user) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: u.credential}
	return cmd
}

// own gives a file to the user.
func (u user) own(path string) error {
	if u.credential == nil {
		return nil
	}
	return os.Chown(path, int(u.credential.Uid), int(u.credential.Gid))
}

// writeFile writes a file that the user alone can read.
func (u user) writeFile(path, content string) error {
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		return fmt.Errorf("write a file of PostgreSQL's: %w", err)
	}
	return u.own(path)
}

// ignoreInterrupts keeps an interrupt at the terminal from a command: it ends the tests, and by that the command.
func ignoreInterrupts(cmd *exec.Cmd) { cmd.SysProcAttr.Setpgid = true }
