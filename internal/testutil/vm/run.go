package vm

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Run boots a machine, runs a static program in it as root, with args and with what it writes going to output, and returns
// the code that the program exits with. It fails when the machine does not get as far as that, and then has the last of the
// machine's console in its error. A machine whose kernel locks up is started once more.
func Run(ctx context.Context, cfg Config, output io.Writer, program string, args ...string) (code int, err error) {
	cfg = cfg.withDefaults()
	kernel, err := getKernel(ctx)
	if err != nil {
		return 0, err
	}
	work, err := os.MkdirTemp("", "waylume-vm-")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	disk, err := os.Create(filepath.Join(work, "initrd"))
	if err != nil {
		return 0, err
	}
	if err := errors.Join(writeInitrd(ctx, disk, cfg, kernel, program, args), disk.Close()); err != nil {
		return 0, fmt.Errorf("make the machine's disk: %w", err)
	}
	code, err = boot(ctx, cfg, output, kernel.image, work)
	if errors.Is(err, errLockup) {
		if _, err := fmt.Fprintln(output, "the machine's kernel locked up: it is started once more"); err != nil {
			return 0, err
		}
		code, err = boot(ctx, cfg, output, kernel.image, work)
	}
	return code, err
}

// lockups are what the kernel says, and then panics, when a processor does nothing but kernel code for a minute, or nothing at all.
// Under emulation that happens to a kernel that has nothing wrong: processors that are emulated apart wait for each other for ever.
func lockups() []string { return []string{"BUG: soft lockup", "rcu: INFO: rcu_preempt"} }

var errLockup = errors.New("the machine's kernel locked up")

// boot runs the machine with the disk in work to its end.
func boot(ctx context.Context, cfg Config, output io.Writer, image, work string) (code int, err error) {
	ctx, cancel := context.WithTimeout(ctx, cfg.Time)
	defer cancel()
	console, result := filepath.Join(work, "console"), filepath.Join(work, "result")
	cmd := exec.CommandContext(ctx, "qemu-system-x86_64", append(processors(cfg),
		"-m", strconv.Itoa(cfg.Memory), "-display", "none", "-monitor", "none", "-no-reboot", "-net", "none",
		"-serial", "file:"+console, "-serial", "stdio", "-serial", "file:"+result,
		"-kernel", image, "-initrd", filepath.Join(work, "initrd"), "-append",
		strings.Join(append([]string{"console=ttyS0 panic=-1 watchdog_thresh=30 softlockup_panic=1 rcupdate.rcu_cpu_stall_timeout=60 " +
			"sysctl.kernel.panic_on_rcu_stall=1 quiet"}, cfg.KernelArgs...), " "))...)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return 0, err
	}
	var complaints strings.Builder
	cmd.Stderr = &complaints
	const grace = 5 * time.Second
	cmd.WaitDelay = grace
	if err := cmd.Start(); err != nil {
		return 0, fmt.Errorf("start the machine: %w", err)
	}
	copied := copyLines(output, stdout)
	err = errors.Join(copied, cmd.Wait())
	report, readErr := os.ReadFile(result)
	code, parseErr := strconv.Atoi(strings.TrimSpace(string(report)))
	if err == nil && readErr == nil && parseErr == nil {
		return code, nil
	}
	if ctx.Err() != nil {
		err = errors.Join(fmt.Errorf("the machine did not end within %v: %w", cfg.Time, context.Cause(ctx)), err)
	}
	said := tail(console)
	if slices.ContainsFunc(lockups(), func(l string) bool { return strings.Contains(said, l) }) {
		err = errors.Join(errLockup, err)
	}
	return 0, fmt.Errorf("the program in the machine did not come to its end: %w: %s\nthe machine's console:\n%s",
		errors.Join(err, readErr), complaints.String(), said)
}

// processors are QEMU's arguments for them. They are emulated, as a machine that is itself a virtual one may offer /dev/kvm and yet
// not boot there.
func processors(cfg Config) []string {
	if cfg.OwnTime {
		// An instruction takes 2^0 ns. Two processors would take turns of many instructions, and each wait for the other's locks.
		return []string{"-accel", "tcg,thread=single", "-icount", "shift=0,sleep=off", "-cpu", "max", "-smp", "1"}
	}
	return []string{"-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2"}
}

// copyLines copies line by line, so that whoever reads the output sees each at once and whole.
func copyLines(to io.Writer, from io.Reader) error {
	for r := bufio.NewReader(from); ; {
		line, err := r.ReadString('\n')
		if _, err := io.WriteString(to, line); err != nil {
			return err
		}
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, os.ErrClosed):
			return nil
		case err != nil:
			return err
		}
	}
}

// tail is the end of a file, for a person.
func tail(path string) string {
	const most = 8 << 10
	content, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return string(content[max(0, len(content)-most):])
}
