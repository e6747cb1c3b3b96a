package hostload

import (
	"errors"
	"io/fs"
	"strconv"

	"github.com/waylume/waylume/registry/load"
)

// memory is how full the machine's memory is, or that which a group may use, whichever is fuller.
func (t tree) memory(groups []string) (load.Fill, error) {
	machine, err := t.machineMemory()
	errs := []error{err}
	fullest := machine
	for _, g := range groups {
		f, err := t.groupMemory(g)
		errs = append(errs, err)
		if fuller(f, fullest) {
			fullest = f
		}
	}
	return fullest, errors.Join(errs...)
}

func fuller(a, b load.Fill) bool {
	if a.Of == 0 || b.Of == 0 {
		return a.Of > 0
	}
	return float64(a.Used)/float64(a.Of) > float64(b.Used)/float64(b.Of)
}

func (t tree) machineMemory() (load.Fill, error) {
	values, err := t.named("proc/meminfo", "MemTotal:", "MemAvailable:")
	if err != nil {
		return load.Fill{}, err
	}
	const kB = 1024
	total, available := values[0], min(values[1], values[0])
	return load.Fill{Used: (total - available) * kB, Of: total * kB}, nil
}

// groupMemory leaves out the part of the page cache that has not been used lately: the kernel takes it back before it kills.
func (t tree) groupMemory(group string) (load.Fill, error) {
	limit, err := t.first(group + "/memory.max")
	if errors.Is(err, fs.ErrNotExist) || err == nil && limit == "max" {
		return load.Fill{}, nil
	}
	if err != nil {
		return load.Fill{}, err
	}
	of, err := strconv.ParseUint(limit, 10, 64)
	if err != nil {
		return load.Fill{}, malformed(group+"/memory.max", err)
	}
	used, err := t.number(group + "/memory.current")
	if err != nil {
		return load.Fill{}, err
	}
	cache, err := t.named(group+"/memory.stat", "inactive_file")
	if err != nil {
		return load.Fill{}, err
	}
	return load.Fill{Used: used - min(cache[0], used), Of: of}, nil
}

// conntrack is how full the table of connections is. Without the module there is none, and with a maximum of 0 no bound.
func (t tree) conntrack() (load.Fill, error) {
	const dir = "proc/sys/net/netfilter/nf_conntrack_"
	used, err := t.number(dir + "count")
	if errors.Is(err, fs.ErrNotExist) {
		return load.Fill{}, nil
	}
	if err != nil {
		return load.Fill{}, err
	}
	of, err := t.number(dir + "max")
	return load.Fill{Used: used, Of: of}, err
}
