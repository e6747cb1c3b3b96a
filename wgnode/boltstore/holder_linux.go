package boltstore

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"unicode"

	"golang.org/x/sys/unix"
)

// holder finds out who has locked a file, from /proc/locks (proc_locks(5)). It knows nothing of a process that this one
// cannot see, as one outside of its container, and of files on file systems that number them otherwise there.
func holder(path string) Process {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return Process{}
	}
	table, err := os.ReadFile("/proc/locks")
	if err != nil {
		return Process{}
	}
	return holderIn(string(table), fmt.Sprintf("%02x:%02x:%d", unix.Major(st.Dev), unix.Minor(st.Dev), st.Ino))
}

// holderIn finds a file, as "MAJOR:MINOR:INODE", in a table of lines like "1: FLOCK  ADVISORY  WRITE 708 fd:00:131 0 EOF".
func holderIn(table, file string) Process {
	for line := range strings.Lines(table) {
		fields := strings.Fields(line)
		if len(fields) < 6 || fields[1] != "FLOCK" || fields[5] != file {
			continue
		}
		pid, err := strconv.Atoi(fields[4])
		if err != nil || pid <= 0 {
			continue
		}
		p := Process{PID: pid}
		if name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid)); err == nil {
			p.Program = printable(strings.TrimSuffix(string(name), "\n"))
		}
		return p
	}
	return Process{}
}

// printable keeps a name, which its process has chosen, from doing things to a terminal.
func printable(name string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, name)
}
