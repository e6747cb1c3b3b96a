package hostload

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/waylume/waylume/registry/load"
)

// processors reads the machine's time, in ticks.
func (t tree) processors() (load.Busy, error) {
	const name = "proc/stat"
	var line []byte
	if err := t.lines(name, func(l []byte) bool {
		line = bytes.Clone(l)
		return false
	}); err != nil {
		return load.Busy{}, err
	}
	fields := bytes.Fields(line)
	// user, nice, system and idle have always been there; iowait, irq, softirq and steal came later. What guests take is in user
	// and nice too: proc_stat(5).
	const least, most = 4, 8
	if len(fields) < 1+least || string(fields[0]) != "cpu" {
		return load.Busy{}, malformed(name, fmt.Errorf("its first line is %.80q", line))
	}
	fields = fields[1:min(len(fields), 1+most)]
	const idle, iowait = 3, 4
	b := load.Busy{Source: name}
	for i, f := range fields {
		ticks, err := strconv.ParseUint(string(f), 10, 64)
		if err != nil {
			return load.Busy{}, malformed(name, err)
		}
		b.Total += ticks
		if i != idle && i != iowait {
			b.Used += ticks
		}
	}
	return b, nil
}

// groups are the directories of the control groups of version 2 that the process is in, its own first. There are none where the
// system has no such groups.
func (t tree) groups() ([]string, error) {
	const root = "sys/fs/cgroup"
	own, is := "", false
	err := t.lines("proc/self/cgroup", func(line []byte) bool {
		own, is = strings.CutPrefix(string(line), "0::")
		return !is
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if !is {
		return nil, nil
	}
	// A group above the root of the namespace is shown with "..": nothing of it is to be seen but the root.
	dir := path.Join(root, path.Clean("/"+own))
	if _, err := fs.Stat(t, dir); err != nil {
		dir = root // a container that sees its own group as the root, and has the name that the host gives it
	}
	groups := []string{dir}
	for dir != root {
		dir = path.Dir(dir)
		groups = append(groups, dir)
	}
	return groups, nil
}

// quota adds up what a control group may use of the processors, in microseconds.
type quota struct {
	group string
	at    time.Time
	total float64
}

// read returns what was used of the least quota of some groups; nothing if none has one.
func (q *quota) read(t tree, groups []string, at time.Time) (load.Busy, error) {
	group, least := "", math.Inf(1)
	for _, g := range groups {
		processors, err := t.limit(g + "/cpu.max")
		if err != nil {
			return load.Busy{}, err
		}
		if processors < least {
			group, least = g, processors
		}
	}
	if group == "" {
		*q = quota{}
		return load.Busy{}, nil
	}
	used, err := t.named(group+"/cpu.stat", "usage_usec")
	if err != nil {
		return load.Busy{}, err
	}
	if q.group != group {
		*q = quota{group: group, at: at, total: 1} // 0 would be unknown
	}
	q.total += least * float64(max(at.Sub(q.at), 0).Microseconds())
	q.at = at
	return load.Busy{Source: group, Used: used[0], Total: uint64(min(q.total, math.MaxInt64))}, nil
}

// limit is how many processors a cpu.max lets a group use; infinite, if it does not say.
func (t tree) limit(name string) (float64, error) {
	line, err := t.first(name)
	if errors.Is(err, fs.ErrNotExist) {
		return math.Inf(1), nil
	}
	if err != nil {
		return 0, err
	}
	allowed, period, ok := strings.Cut(line, " ")
	if allowed == "max" {
		return math.Inf(1), nil
	}
	a, errA := strconv.ParseUint(allowed, 10, 63)
	p, errP := strconv.ParseUint(period, 10, 63)
	if err := errors.Join(errA, errP); err != nil || !ok || a == 0 || p == 0 {
		return 0, malformed(name, fmt.Errorf("it is %.80q", line))
	}
	return float64(a) / float64(p), nil
}
