package hostload

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"time"

	"github.com/waylume/waylume/registry/load"
)

// uplink reads the counters of the interface that the node's traffic passes.
func (r *Reader) uplink(at time.Time) (load.Uplink, error) {
	name := r.cfg.Uplink
	if name == "" {
		var err error
		if name, err = r.root.defaultRoute(); err != nil {
			return load.Uplink{}, err
		}
	}
	u, err := r.root.counters(name)
	if err != nil {
		return load.Uplink{}, err
	}
	// Without it an interface that was made anew is not told from one whose counters were.
	index, err := r.root.number("sys/class/net/" + name + "/ifindex")
	if err == nil {
		u.Index = int(min(index, 1<<31-1))
	} else if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	u.Capacity = r.cfg.Capacity
	if u.Capacity == 0 {
		u.Capacity = r.speed.of(r.root, name, u.Index, at)
	}
	return u, err
}

// counters finds an interface in the network namespace of the process.
func (t tree) counters(name string) (load.Uplink, error) {
	const file = "proc/self/net/dev"
	const received, receivedPackets, sent, sentPackets, columns = 0, 1, 8, 9, 16
	u, found := load.Uplink{Name: name}, false
	var failed error
	err := t.lines(file, func(line []byte) bool {
		n, rest, ok := bytes.Cut(line, []byte(":"))
		if !ok || string(bytes.TrimSpace(n)) != name {
			return true
		}
		found = true
		fields := bytes.Fields(rest)
		if len(fields) < columns {
			failed = fmt.Errorf("%d columns for %s", len(fields), name)
			return false
		}
		for column, into := range map[int]*uint64{
			received: &u.ReceivedBytes, receivedPackets: &u.ReceivedPackets, sent: &u.SentBytes, sentPackets: &u.SentPackets,
		} {
			n, err := strconv.ParseUint(string(fields[column]), 10, 64)
			*into, failed = n, errors.Join(failed, err)
		}
		return false
	})
	switch {
	case err != nil:
		return load.Uplink{}, err
	case failed != nil:
		return load.Uplink{}, malformed(file, failed)
	case !found:
		return load.Uplink{}, fmt.Errorf("there is no interface %s: name the uplink's, or none for that of the default route", name)
	}
	return u, nil
}

// speed is what an interface says of itself, read now and then: to ask takes a lock of the kernel's, and some drivers ask their card.
type speed struct {
	name  string
	index int
	at    time.Time
	rate  int64
}

const speedAge = time.Minute

func (s *speed) of(t tree, name string, index int, at time.Time) int64 {
	if age := at.Sub(s.at); s.name != name || s.index != index || age < 0 || age >= speedAge {
		*s = speed{name: name, index: index, at: at, rate: t.speed(name)}
	}
	return s.rate
}

// speed is an interface's in bit/s, or 0 if it has none to speak of: one that is no device's, but for bonds and VLANs, which have that of
// the devices below, says what its driver makes up.
func (t tree) speed(name string) int64 {
	dir := "sys/class/net/" + name
	if _, err := fs.Stat(t, dir+"/device"); err != nil && !t.overDevices(dir) {
		return 0
	}
	line, err := t.first(dir + "/speed")
	if err != nil {
		return 0 // an interface without one says EINVAL
	}
	const mega = 1_000_000
	// Ethernet's slowest and, with room, its fastest. An unknown one is -1, as a number with or without a sign.
	const slowest, fastest = 10, 10_000_000
	speed, err := strconv.ParseInt(line, 10, 64)
	if err != nil || speed < slowest || speed > fastest {
		return 0
	}
	return speed * mega
}

func (t tree) overDevices(dir string) (is bool) {
	err := t.lines(dir+"/uevent", func(line []byte) bool {
		is = string(line) == "DEVTYPE=bond" || string(line) == "DEVTYPE=vlan"
		return !is
	})
	return is && err == nil
}
