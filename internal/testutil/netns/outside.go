package netns

import (
	"os"
	"strconv"
)

// Outside returns a command that runs in the directory dir where [Main] was called, with that network and those mounts: for
// what has to reach other machines, such as a download. Elsewhere than in a namespace of Main's it is the command as it is.
// Root can run it.
func Outside(dir string, command ...string) []string {
	if os.Getenv(stateVariable) != inside {
		return command
	}
	parent := strconv.Itoa(os.Getppid()) // which Main is in, and stays where it was
	return append([]string{"nsenter", "--target", parent, "--net", "--mount", "--wd=" + dir, "--"}, command...)
}
