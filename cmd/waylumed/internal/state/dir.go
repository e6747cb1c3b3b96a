package state

import (
	"path/filepath"
	"runtime"
	"strings"
)

// Dir is where state is kept unless a person says otherwise: the directory that systemd has made for a service (StateDirectory=, of
// several the first), a directory for the system's services when the process runs as root, else the one of the XDG Base Directory
// Specification. It is empty when there is no home.
func Dir(getenv func(string) string, root bool, home string) string {
	service, _, _ := strings.Cut(getenv("STATE_DIRECTORY"), ":") // systemd.exec(5)
	switch {
	case filepath.IsAbs(service):
		return service
	case root:
		return "/var/lib/waylume"
	case filepath.IsAbs(getenv("XDG_STATE_HOME")): // the specification ignores others
		return filepath.Join(getenv("XDG_STATE_HOME"), "waylumed")
	case home != "" && runtime.GOOS == "windows":
		return filepath.Join(home, "AppData", "Local", "waylumed")
	case home != "":
		return filepath.Join(home, ".local", "state", "waylumed")
	}
	return ""
}
