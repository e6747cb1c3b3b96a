package hostload

import (
	"bytes"
	"errors"
	"io/fs"
	"strconv"
)

// Flags of a route: linux/route.h, linux/ipv6_route.h.
const (
	flagUp     = 0x1
	flagReject = 0x200
)

// route is a default route.
type route struct {
	name   string
	metric uint64
}

// defaultRoute is the interface of the default route in the process's network namespace.
func (t tree) defaultRoute() (string, error) {
	v4, err := t.defaultRouteV4()
	if err != nil {
		return "", err
	}
	if v4 != "" {
		return v4, nil
	}
	v6, err := t.defaultRouteV6()
	if err == nil && v6 == "" {
		err = ErrNoUplink
	}
	return v6, err
}

// defaultRouteV4 reads the main table: interface, destination, gateway, flags, references, use, metric, mask, ... Routes are in the
// order of their destinations (fib_route_seq_show in net/ipv4/fib_trie.c), so that of a large table no more than its beginning is read.
func (t tree) defaultRouteV4() (string, error) {
	const name = "proc/self/net/route"
	const destination, flags, metric, mask, columns = 1, 3, 6, 7, 8
	const anywhere = "00000000"
	var best *route
	var failed error
	head := true
	err := t.lines(name, func(line []byte) bool {
		fields := bytes.Fields(line)
		if head || len(fields) < columns {
			head = false
			return true
		}
		if string(fields[destination]) != anywhere {
			return false
		}
		if string(fields[mask]) != anywhere {
			return true
		}
		f, errF := strconv.ParseUint(string(fields[flags]), 16, 32)
		m, errM := strconv.ParseInt(string(fields[metric]), 10, 64) // the kernel writes it with a sign
		failed = errors.Join(errF, errM)
		best = better(best, fields[0], f, uint64(uint32(m)))
		return failed == nil
	})
	return chosen(best, name, failed, err)
}

// defaultRouteV6 reads all tables: destination, its length, source, its length, gateway, metric, references, use, flags, interface.
func (t tree) defaultRouteV6() (string, error) {
	const name = "proc/self/net/ipv6_route"
	const length, source, metric, flags, device, columns = 1, 3, 5, 8, 9, 10
	var best *route
	var failed error
	err := t.lines(name, func(line []byte) bool {
		fields := bytes.Fields(line)
		if len(fields) < columns || string(fields[length]) != "00" || string(fields[source]) != "00" {
			return true
		}
		f, errF := strconv.ParseUint(string(fields[flags]), 16, 32)
		m, errM := strconv.ParseUint(string(fields[metric]), 16, 32)
		failed = errors.Join(errF, errM)
		best = better(best, fields[device], f, m)
		return failed == nil
	})
	return chosen(best, name, failed, err)
}

// better is the one of two routes that the kernel takes; the first of equal ones.
func better(best *route, name []byte, flags, metric uint64) *route {
	if flags&flagUp == 0 || flags&flagReject != 0 || string(name) == "lo" || string(name) == "*" || best != nil && best.metric <= metric {
		return best
	}
	return &route{string(name), metric}
}

func chosen(best *route, file string, failed, err error) (string, error) {
	switch {
	case errors.Is(err, fs.ErrNotExist): // a kernel without this family
		return "", nil
	case err != nil:
		return "", err
	case failed != nil:
		return "", malformed(file, failed)
	case best == nil:
		return "", nil
	}
	return best.name, nil
}
