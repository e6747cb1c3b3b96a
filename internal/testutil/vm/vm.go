package vm

import (
	"os"
	"time"
)

const (
	// insideVariable is "true" in the environment of programs in a machine.
	insideVariable = "WAYLUME_TEST_VM"

	defaultMemory = 2048
	defaultTime   = 10 * time.Minute
)

// Inside reports whether this process runs in a machine of this package.
func Inside() bool { return os.Getenv(insideVariable) == "true" }

// Config says what a machine is to have.
type Config struct {
	// Modules are the names of kernel modules that are loaded, in this order, each after those that it needs.
	Modules []string
	// KernelArgs are added to the kernel's command line: "initcall_blacklist=fq_codel_module_init" for one without what is built in.
	KernelArgs []string
	// Programs are the names of programs of this machine that are to be in it, with the libraries that they are linked with.
	Programs []string
	// Dirs are directories, relative to the current one, that are also there where the program runs.
	Dirs []string
	// Env is added to the environment, as NAME=value.
	Env []string
	// OwnTime has the machine's clock count its instructions, a nanosecond for each, and leap over what it would idle: it is one
	// processor of 1,000 million instructions a second, and what it measures by its clock does not depend on what else its host
	// is at work on. While it is busy, a second of its takes several of its host's.
	OwnTime bool
	// Memory is in MiB; default 2,048.
	Memory int
	// Time is how long the machine may run, from its start and by its host's clock; default 10 minutes.
	Time time.Duration
}

func (c Config) withDefaults() Config {
	if c.Memory == 0 {
		c.Memory = defaultMemory
	}
	if c.Time == 0 {
		c.Time = defaultTime
	}
	return c
}
