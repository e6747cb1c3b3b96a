package pgserver

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
)

// programs are those of PostgreSQL, and whom they run as.
type programs struct {
	dir  string
	user user
}

// find looks for the newest PostgreSQL where Debian has it, which is not on anybody's path, and then on the path.
func find() (programs, error) {
	user, err := findUser()
	if err != nil {
		return programs{}, err
	}
	dirs, err := filepath.Glob("/usr/lib/postgresql/*/bin")
	if err != nil {
		return programs{}, err
	}
	newest, at := 0, ""
	for _, dir := range dirs {
		version, err := strconv.Atoi(filepath.Base(filepath.Dir(dir)))
		if _, statErr := os.Stat(filepath.Join(dir, "initdb")); err == nil && statErr == nil && version > newest {
			newest, at = version, dir
		}
	}
	if at != "" {
		return programs{dir: at, user: user}, nil
	}
	initdb, err := exec.LookPath("initdb")
	if err != nil {
		return programs{}, fmt.Errorf("needs PostgreSQL, which Debian has in package postgresql: %w", err)
	}
	if initdb, err = filepath.EvalSymlinks(initdb); err != nil {
		return programs{}, err
	}
	return programs{dir: filepath.Dir(initdb), user: user}, nil
}
