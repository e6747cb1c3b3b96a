//go:build !unix

package pgserver

import (
	"context"
	"errors"
	"os/exec"
	"runtime"
)

// user is whom PostgreSQL runs as: nobody, here.
type user struct{}

func findUser() (user, error) {
	return user{}, errors.New("needs PostgreSQL, which tests do not start on " + runtime.GOOS)
}

func (user) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, name, args...)
}

func (user) own(string) error { return nil }

func (user) writeFile(string, string) error { return errors.ErrUnsupported }

func ignoreInterrupts(*exec.Cmd) {}
