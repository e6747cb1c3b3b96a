package vm

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Where things are in the machine.
const (
	guestProgram = "/test/program" // in a directory of its own, where its tests run
	// The console is ttyS0. The program has ttyS1 for its output; the machine reports the exit code on ttyS2.
	guestOutput = "/dev/ttyS1"
	guestResult = "/dev/ttyS2"
)

// initrd is what a machine boots into: all files are in memory.
type initrd struct {
	cpioWriter
	seen map[string]bool
}

// writeInitrd writes the initial RAM disk of a machine that runs a static program.
func writeInitrd(ctx context.Context, w io.Writer, cfg Config, kernel *guestKernel, program string, args []string) error {
	zip, err := gzip.NewWriterLevel(w, gzip.BestSpeed)
	if err != nil {
		return err
	}
	disk := &initrd{cpioWriter{w: zip}, make(map[string]bool)}
	for _, dir := range []string{"proc", "sys", "dev", "tmp", "run", "root"} {
		disk.dir(dir)
	}
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		return err
	}
	modules, err := kernel.files(cfg.Modules)
	if err != nil {
		return err
	}
	var order strings.Builder
	err = errors.Join(disk.copy(busybox, "/bin/busybox"), disk.copy(program, guestProgram))
	for i, file := range modules {
		name := fmt.Sprintf("/modules/%03d-%s", i, filepath.Base(file)) // two may have one name
		fmt.Fprintln(&order, name)
		err = errors.Join(err, disk.copy(file, name))
	}
	for _, name := range cfg.Programs {
		err = errors.Join(err, disk.copyProgram(ctx, name))
	}
	for _, dir := range cfg.Dirs {
		err = errors.Join(err, disk.copyDir(dir))
	}
	if err != nil {
		return err
	}
	disk.file("/modules/order", []byte(order.String()))
	disk.file("/init", []byte(initScript(cfg, args)))
	return errors.Join(disk.close(), zip.Close())
}

// initScript is the first process of the machine.
func initScript(cfg Config, args []string) string {
	var env, quoted strings.Builder
	for _, kv := range append([]string{insideVariable + "=true"}, cfg.Env...) {
		fmt.Fprintf(&env, "export %s\n", quote(kv))
	}
	for _, arg := range args {
		quoted.WriteString(" " + quote(arg))
	}
	return `#!/bin/busybox sh
busybox=/bin/busybox
$busybox mount -t proc none /proc
$busybox mount -t sysfs none /sys
$busybox mount -t devtmpfs none /dev
$busybox mount -t tmpfs none /tmp
$busybox mount -t tmpfs none /run
while read module; do
	$busybox insmod $module || echo "module $module cannot be loaded" >` + guestOutput + `
done </modules/order
$busybox ip link set lo up
$busybox stty -F ` + guestOutput + ` raw
$busybox stty -F ` + guestResult + ` raw
export HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin
` + env.String() + `cd ` + filepath.Dir(guestProgram) + `
` + guestProgram + quoted.String() + ` >` + guestOutput + ` 2>&1
echo $? >` + guestResult + `
$busybox sync
$busybox poweroff -f
`
}

// quote makes one word of any string for a shell.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// dir adds a directory with those above it.
func (d *initrd) dir(name string) {
	name = strings.Trim(name, "/")
	if name == "" || name == "." || d.seen[name] {
		return
	}
	d.dir(filepath.Dir(name))
	d.seen[name] = true
	d.add(name, modeDir, nil)
}

// file adds an executable file, once.
func (d *initrd) file(name string, content []byte) {
	name = strings.Trim(name, "/")
	if d.seen[name] {
		return
	}
	d.dir(filepath.Dir(name))
	d.seen[name] = true
	d.add(name, modeFile, content)
}

// copy adds a file of this machine under a name.
func (d *initrd) copy(from, name string) error {
	content, err := os.ReadFile(from)
	if err == nil {
		d.file(name, content)
	}
	return err
}

// copyDir adds a directory of this machine to that where the program runs.
func (d *initrd) copyDir(dir string) error {
	return filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		return d.copy(path, filepath.Join(filepath.Dir(guestProgram), path))
	})
}

// copyProgram adds a program of this machine where it is, and the libraries that it is linked with.
func (d *initrd) copyProgram(ctx context.Context, name string) error {
	path, err := exec.LookPath(name)
	if err != nil {
		return err
	}
	if err := d.copy(path, path); err != nil {
		return err
	}
	out, err := run(ctx, "", "ldd", path)
	if err != nil {
		return nil // ldd says so of a static program
	}
	for word := range strings.FieldsSeq(out) {
		if strings.HasPrefix(word, "/") {
			if err := d.copy(word, word); err != nil {
				return err
			}
		}
	}
	return nil
}
