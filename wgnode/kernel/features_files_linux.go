package kernel

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/waylume/waylume/wgnode"
)

// option is one of the kernel's configuration: config its name, and module that of the module which it may be built as; empty
// for one that is part of another.
type option struct{ config, module string }

// kernelFiles are what the running kernel's files tell of it.
type kernelFiles struct {
	release string
	// config is the value of each option that is set, "y" or "m", from configFile; nil if there is no such file to read.
	config     map[string]string
	configFile string
	// modules are those that are built in, loaded, or can be. With allModules there are no others.
	modules    map[string]bool
	allModules bool
}

// readKernelFiles reads them below root. Files that are missing, or that this process may not read, are no error.
func readKernelFiles(root string) (kernelFiles, error) {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return kernelFiles{}, fmt.Errorf("ask for the kernel's release: %w", err)
	}
	k := kernelFiles{release: unix.ByteSliceToString(name.Release[:])}
	return k, k.read(root)
}

func (k *kernelFiles) read(root string) error {
	for _, file := range []string{"/proc/config.gz", "/boot/config-" + k.release, "/lib/modules/" + k.release + "/config"} {
		found, err := eachLine(filepath.Join(root, file), func(line string) {
			if option, value, ok := strings.Cut(line, "="); ok && strings.HasPrefix(option, "CONFIG_") {
				k.config[option] = value
			}
		}, func() { k.config, k.configFile = make(map[string]string), file })
		if err != nil {
			return err
		}
		if found {
			break
		}
	}
	k.modules = make(map[string]bool)
	add := func(line string) {
		path, _, _ := strings.Cut(line, ":")
		path, _, _ = strings.Cut(path, " ")
		name, _, _ := strings.Cut(filepath.Base(path), ".ko")
		k.modules[strings.ReplaceAll(name, "-", "_")] = true
	}
	k.allModules = true
	for _, file := range []string{"modules.builtin", "modules.dep"} {
		found, err := eachLine(filepath.Join(root, "lib", "modules", k.release, file), add, nil)
		if err != nil {
			return err
		}
		k.allModules = k.allModules && found
	}
	_, err := eachLine(filepath.Join(root, "proc", "modules"), add, nil)
	return err
}

// eachLine reads a file, packed if its name ends in .gz; found is false when there is none to read. Begin is called before the
// first line.
func eachLine(path string, yield func(string), begin func()) (found bool, err error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) || isDenied(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read what the kernel was built with: %w", err)
	}
	var r io.Reader = bytes.NewReader(data)
	if strings.HasSuffix(path, ".gz") {
		if r, err = gzip.NewReader(r); err != nil {
			return false, fmt.Errorf("read %s: %w", path, err)
		}
	}
	if begin != nil {
		begin()
	}
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20) // a module may depend on many
	for lines.Scan() {
		yield(lines.Text())
	}
	if err := lines.Err(); err != nil {
		return false, fmt.Errorf("read %s: %w", path, err)
	}
	return true, nil
}

// has returns nil if the kernel has all options, an error that matches wgnode.ErrNotSupported if it lacks one, and any other if
// the files do not tell.
func (k kernelFiles) has(options []option) error {
	var unknown error
	for _, o := range options {
		err := k.hasOne(o)
		if errors.Is(err, wgnode.ErrNotSupported) {
			return err
		}
		unknown = errors.Join(unknown, err)
	}
	return unknown
}

func (k kernelFiles) hasOne(o option) error {
	if o.module != "" && k.modules[o.module] {
		return nil
	}
	value := k.config[o.config]
	switch {
	case value == "y":
		return nil
	case value == "m" && k.allModules:
		return fmt.Errorf("%w: %s is a module in %s, and module %s is not installed",
			wgnode.ErrNotSupported, o.config, k.configFile, o.module)
	case value == "m":
		return fmt.Errorf("%s is a module in %s, and whether it is installed cannot be seen in /lib/modules/%s",
			o.config, k.configFile, k.release)
	case k.config != nil:
		return fmt.Errorf("%w: %s is not set in %s", wgnode.ErrNotSupported, o.config, k.configFile)
	case o.module != "" && k.allModules:
		return fmt.Errorf("%w: no module %s is in /lib/modules/%s", wgnode.ErrNotSupported, o.module, k.release)
	}
	return fmt.Errorf("no file that can be read tells of %s", o.config)
}

// required says what makes a feature be there on this host: what is its own, and what the options take.
func (k kernelFiles) required(own string, options []option) string {
	var built, install, load, general []string
	for _, o := range options {
		absent := errors.Is(k.hasOne(o), wgnode.ErrNotSupported)
		switch {
		case o.module != "" && k.modules[o.module]:
			load = append(load, o.module)
		case k.config[o.config] == "y":
		case absent && k.config != nil && k.config[o.config] == "":
			built = append(built, o.config)
		case absent:
			install, load = append(install, o.module), append(load, o.module)
		default:
			general = append(general, o.config)
			if o.module != "" {
				load = append(load, o.module)
			}
		}
	}
	var texts []string
	for _, part := range []struct {
		list         []string
		before, join string
		after        string
	}{
		{built, "another kernel, as this one was built without ", ", ", " (" + k.configFile + ")"},
		{
			install, "this kernel's package with the module ", ", ",
			": linux-modules-extra-" + k.release + " (Ubuntu), kernel-modules-extra (Fedora, RHEL)",
		},
		{general, "a kernel with ", ", ", ""},
		{load, "the module loaded, on the host: modprobe -a ", " ", ""},
		{[]string{own}, "", "", ""},
	} {
		if text := strings.Join(part.list, part.join); text != "" {
			texts = append(texts, part.before+text+part.after)
		}
	}
	if len(texts) == 0 {
		return "a newer kernel: this one has the parts, but not all that they are to do"
	}
	return strings.Join(texts, "; ")
}
