package vm

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// modules are those whose loading shows that dependencies are: wireguard needs a dozen others.
func modules() []string { return []string{"wireguard", "nft_masq", "sch_htb"} }

// TestGuest runs in a machine, and is what TestRun sees of it.
func TestGuest(t *testing.T) {
	if !Inside() {
		t.Skip("only in a machine")
	}
	loaded, err := os.ReadFile("/proc/modules")
	require.NoError(t, err)
	for _, module := range modules() {
		require.Contains(t, string(loaded), module+" ")
	}
	require.Equal(t, "it's set", os.Getenv("GREETING"))
	content, err := os.ReadFile("testdata/file")
	require.NoError(t, err)
	require.Equal(t, "content\n", string(content))
	out, err := exec.Command("ip", "link", "add", "wg0", "type", "wireguard").CombinedOutput()
	require.NoError(t, err, "%s", out)
	t.Log("made a WireGuard link")
	if os.Getenv("FAIL") != "" {
		t.Error("as asked")
	}
}

func guestConfig() Config {
	return Config{Modules: modules(), Programs: []string{"ip"}, Env: []string{"GREETING=it's set"}, Memory: 512, Time: 4 * time.Minute}
}

func TestRun(t *testing.T) {
	Require(t)
	began := time.Now()
	TestPackage(t, guestConfig(), "-test.v", "-test.run=^TestGuest$")
	t.Logf("the machine took %v", time.Since(began).Round(time.Second))
}

// Of what tests write, the failures are kept.
func TestFailures(t *testing.T) {
	var f failures
	for _, line := range []string{
		"=== RUN   TestA\n", "    a_test.go:7: \n", "        \tError Trace:\ta_test.go:7\n", "        \tError:      \tNot equal\n",
		"=== RUN   TestB\n", "    b_test.go:7: fine\n", "--- FAIL: TestA (0.1s)\n", "--- PASS: TestB (0.1s)\n",
	} {
		n, err := f.Write([]byte(line))
		require.NoError(t, err)
		require.Len(t, line, n)
	}
	require.Equal(t, "        \tError Trace:\ta_test.go:7\n        \tError:      \tNot equal\n--- FAIL: TestA (0.1s)\n", f.String())
}

// What a program in a machine writes and exits with comes back, and a machine that does not end is ended.
func TestRunPrograms(t *testing.T) {
	Require(t)
	script := func(commands string) string {
		path := filepath.Join(t.TempDir(), "script")
		require.NoError(t, os.WriteFile(path, []byte("#!/bin/busybox sh\n"+commands), 0o700))
		return path
	}
	cfg := Config{Memory: 512, Time: 4 * time.Minute}
	var out bytes.Buffer
	code, err := Run(t.Context(), cfg, &out, script(`echo "$1 says $2" >&2; echo done; exit 3`), "he", "it's \"so\"")
	require.NoError(t, err)
	require.Equal(t, 3, code)
	require.Equal(t, "he says it's \"so\"\ndone\n", out.String())

	out.Reset()
	// On a busy machine it may take longer to begin.
	for cfg.Time = 10 * time.Second; out.Len() == 0 && cfg.Time < 4*time.Minute; cfg.Time *= 2 {
		_, err = Run(t.Context(), cfg, &out, script("echo begun; exec /bin/busybox sleep 1000"))
		require.ErrorContains(t, err, fmt.Sprintf("did not end within %v", cfg.Time))
	}
	require.Equal(t, "begun\n", out.String())

	out.Reset()
	cfg.Time = 4 * time.Minute
	_, err = Run(t.Context(), cfg, &out, script(`/bin/busybox cat /proc/sys/kernel/panic_on_rcu_stall \
		/proc/sys/kernel/softlockup_panic /proc/sys/kernel/watchdog_thresh
		echo "<0>rcu: INFO: rcu_preempt self-detected stall on CPU" >/dev/kmsg
		/bin/busybox sleep 1; /bin/busybox reboot -f`))
	require.ErrorIs(t, err, errLockup)
	require.Equal(t, "1\n1\n30\nthe machine's kernel locked up: it is started once more\n1\n1\n30\n", out.String())

	cfg.Modules = []string{"no_such_module"}
	_, err = Run(t.Context(), cfg, &out, script(""))
	require.ErrorContains(t, err, "has no module no_such_module")
	cfg.Modules, cfg.Programs = nil, []string{"no-such-program"}
	_, err = Run(t.Context(), cfg, &out, script(""))
	require.ErrorIs(t, err, exec.ErrNotFound)
}

// A machine with a time of its own idles an hour within its minutes of the host's.
func TestOwnTime(t *testing.T) {
	Require(t)
	cfg := Config{OwnTime: true, Memory: 512, Time: 4 * time.Minute}
	program := filepath.Join(t.TempDir(), "script")
	require.NoError(t, os.WriteFile(program, []byte("#!/bin/busybox sh\n/bin/busybox sleep 3600; /bin/busybox cut -d. -f1 /proc/uptime"), 0o700))
	var out bytes.Buffer
	code, err := Run(t.Context(), cfg, &out, program)
	require.NoError(t, err)
	require.Zero(t, code)
	seconds, err := strconv.Atoi(strings.TrimSpace(out.String()))
	require.NoError(t, err)
	require.GreaterOrEqual(t, seconds, 3600)
}

func TestModuleFiles(t *testing.T) {
	k := &guestKernel{
		modules: "/m", builtin: map[string]bool{"there": true},
		depends: map[string]string{"a": "x/a.ko: y/b-c.ko z/d.ko", "b_c": "y/b-c.ko: z/d.ko", "d": "z/d.ko:"},
	}
	files, err := k.files([]string{"there", "b-c", "a", "d"})
	require.NoError(t, err)
	require.Equal(t, []string{"/m/z/d.ko", "/m/y/b-c.ko", "/m/x/a.ko"}, files)
	_, err = k.files([]string{"e"})
	require.ErrorContains(t, err, "no module e")
	require.Equal(t, "nf_conntrack", moduleName("kernel/net/nf-conntrack.ko.xz"))
}

// The archive is one that cpio reads.
func TestCPIO(t *testing.T) {
	path, err := exec.LookPath("cpio")
	if err != nil {
		t.Skip("cpio is not here; the machine reads the archive too")
	}
	var archive bytes.Buffer
	w := &initrd{cpioWriter{w: &archive}, make(map[string]bool)}
	w.file("/a/b/odd", []byte("12345"))
	w.file("/a/b/odd", []byte("again"))
	w.file("/a/even", []byte("1234"))
	require.NoError(t, w.close())
	cmd := exec.Command(path, "--extract", "--quiet", "--verbose", "--make-directories")
	cmd.Dir, cmd.Stdin = t.TempDir(), &archive
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Equal(t, []string{"a", "a/b", "a/b/odd", "a/even"}, strings.Fields(string(out)))
	content, err := os.ReadFile(cmd.Dir + "/a/b/odd")
	require.NoError(t, err)
	require.Equal(t, "12345", string(content))
}
