package vm

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/waylume/waylume/internal/testutil/netns"
)

// kernelPackage is the package that depends on Debian's newest kernel for virtual machines.
const kernelPackage = "linux-image-cloud-amd64"

// guestKernel is a kernel that was unpacked.
type guestKernel struct {
	image   string
	modules string            // the directory
	depends map[string]string // the line of modules.dep that names a module's file and those that it needs
	builtin map[string]bool
}

// getKernel returns the kernel of the cache, which it fills first if it is empty.
func getKernel(ctx context.Context) (*guestKernel, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return nil, fmt.Errorf("find a place for a kernel: %w", err)
	}
	dir := filepath.Join(cache, "waylume-vm", kernelPackage)
	if _, err := os.Stat(dir); err != nil {
		if err := downloadKernel(ctx, dir); err != nil {
			return nil, fmt.Errorf("get a kernel for virtual machines: %w", err)
		}
	}
	return readKernel(dir)
}

// Release is that of the machines' kernel, as uname has it.
func Release(ctx context.Context) (string, error) {
	kernel, err := getKernel(ctx)
	if err != nil {
		return "", err
	}
	return filepath.Base(kernel.modules), nil
}

// downloadKernel unpacks Debian's kernel into a directory, which is there only once it is whole.
func downloadKernel(ctx context.Context, dir string) (err error) {
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	work, err := os.MkdirTemp(filepath.Dir(dir), "new-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	name, err := kernelName(ctx)
	if err != nil {
		return err
	}
	root := filepath.Join(work, "root")
	if _, err := apt(ctx, work, "apt-get", "download", "-qq", name); err != nil {
		return err
	}
	archives, err := filepath.Glob(filepath.Join(work, "*.deb"))
	if err != nil || len(archives) != 1 {
		return fmt.Errorf("apt-get download of %s left %q", name, archives)
	}
	if _, err := run(ctx, work, "dpkg", "-x", archives[0], root); err != nil {
		return err
	}
	versions, err := os.ReadDir(filepath.Join(root, "lib", "modules"))
	if err != nil || len(versions) != 1 {
		return fmt.Errorf("%s has the modules of %d kernels, not of one", name, len(versions))
	}
	if _, err := run(ctx, work, "depmod", "-b", root, versions[0].Name()); err != nil {
		return err
	}
	return os.Rename(root, dir)
}

// kernelName is the package that has the newest kernel.
func kernelName(ctx context.Context) (string, error) {
	out, err := run(ctx, "", "apt-cache", "depends", kernelPackage)
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(out) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "Depends: "); ok && strings.HasPrefix(name, "linux-image-") {
			return name, nil
		}
	}
	return "", fmt.Errorf("apt-cache knows no %s: run apt-get update", kernelPackage)
}

// readKernel finds its way about an unpacked kernel.
func readKernel(dir string) (*guestKernel, error) {
	modules, err := filepath.Glob(filepath.Join(dir, "lib", "modules", "*"))
	if err != nil || len(modules) != 1 {
		return nil, fmt.Errorf("no kernel is in %s: delete it, and it is downloaded again", dir)
	}
	k := &guestKernel{
		image: filepath.Join(dir, "boot", "vmlinuz-"+filepath.Base(modules[0])), modules: modules[0],
		depends: make(map[string]string), builtin: make(map[string]bool),
	}
	err = errors.Join(
		k.readLines("modules.dep", func(line string) {
			file, _, _ := strings.Cut(line, ":")
			k.depends[moduleName(file)] = line
		}),
		k.readLines("modules.builtin", func(line string) { k.builtin[moduleName(line)] = true }),
	)
	return k, err
}

func (k *guestKernel) readLines(name string, each func(line string)) error {
	f, err := os.Open(filepath.Join(k.modules, name))
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		each(lines.Text())
	}
	return lines.Err()
}

// moduleName is what a module's file holds.
func moduleName(file string) string {
	name, _, _ := strings.Cut(filepath.Base(file), ".")
	return strings.ReplaceAll(name, "-", "_")
}

// files returns the files of modules and of what they need, in an order that they can be loaded in.
func (k *guestKernel) files(modules []string) ([]string, error) {
	var files []string
	for _, name := range modules {
		name = strings.ReplaceAll(name, "-", "_")
		line, ok := k.depends[name]
		if !ok && !k.builtin[name] {
			return nil, fmt.Errorf("the kernel in %s has no module %s", k.modules, name)
		}
		// The line has the module's own file first, and what must be there before it after it.
		needed := strings.Fields(strings.Replace(line, ":", " ", 1))
		slices.Reverse(needed)
		for _, file := range needed {
			if file = filepath.Join(k.modules, file); !slices.Contains(files, file) {
				files = append(files, file)
			}
		}
	}
	return files, nil
}

// apt runs a program of apt's in a directory, and where the machine's network is.
func apt(ctx context.Context, dir string, command ...string) (string, error) {
	command = netns.Outside(dir, command...)
	return run(ctx, dir, command[0], command[1:]...)
}

// run runs a program and returns its output, all of it in an error.
func run(ctx context.Context, dir, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, out)
	}
	return string(out), nil
}
