package privilege_test

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/cmd/waylumed/internal/privilege"
	"github.com/waylume/waylume/internal/testutil"
)

// childNeed says to a process of this test what it is to keep.
const childNeed = "WAYLUME_TEST_NEED"

func TestMain(m *testing.M) {
	if need, ok := os.LookupEnv(childNeed); ok {
		os.Exit(child(need))
	}
	os.Exit(m.Run())
}

// child gives up what it does not need, while other threads run, and prints what each thread may do.
func child(need string) int {
	stop := make(chan struct{})
	for range 4 {
		go func() {
			runtime.LockOSThread()
			<-stop
		}()
	}
	left, err := privilege.Drop(privilege.Need{
		ChangeNetwork: strings.Contains(need, "network"), LowPorts: strings.Contains(need, "ports"),
	})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println("left:", left)
	statuses, _ := filepath.Glob("/proc/self/task/*/status")
	for _, path := range statuses {
		status, err := os.ReadFile(path)
		if err != nil {
			continue // a thread that has ended
		}
		for _, line := range regexp.MustCompile(`(?m)^(Cap|NoNewPrivs).*$`).FindAll(status, -1) {
			fmt.Printf("%s\n", line)
		}
	}
	if l, err := net.Listen("tcp", "127.0.0.1:81"); err == nil {
		fmt.Println("low port: open")
		_ = l.Close()
	}
	close(stop)
	return 0
}

// drop runs a program, which is this test, as somebody.
func drop(t *testing.T, program, need string, as *syscall.Credential) string {
	t.Helper()
	cmd := exec.Command(program)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: as}
	cmd.Env = append(os.Environ(), childNeed+"="+need)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	require.NoError(t, cmd.Run(), out.String())
	return out.String()
}

// TestDrop looks at every thread of a process that has given up what it does not need.
func TestDrop(t *testing.T) {
	testutil.RequireRoot(t)
	for need, want := range map[string]struct{ left, mask string }{
		"":              {"no capability, and no way to new privileges", "0000000000000000"},
		"network":       {"only CAP_NET_ADMIN, and no way to new privileges", "0000000000001000"},
		"network ports": {"only CAP_NET_BIND_SERVICE and CAP_NET_ADMIN, and no way to new privileges", "0000000000001400"},
	} {
		t.Run(need, func(t *testing.T) {
			out := drop(t, os.Args[0], need, nil)
			require.Contains(t, out, "left: "+want.left+"\n")
			for _, set := range []string{"CapPrm", "CapEff", "CapBnd"} {
				values := regexp.MustCompile(set+`:\t(\w+)`).FindAllStringSubmatch(out, -1)
				require.Greater(t, len(values), 4, out)
				for _, v := range values {
					require.Equal(t, want.mask, v[1], set)
				}
			}
			for _, set := range []string{"CapInh", "CapAmb"} {
				for _, v := range regexp.MustCompile(set+`:\t(\w+)`).FindAllStringSubmatch(out, -1) {
					require.Equal(t, "0000000000000000", v[1], set)
				}
			}
			require.NotContains(t, out, "NoNewPrivs:\t0")
			require.Equal(t, strings.Contains(need, "ports"), strings.Contains(out, "low port: open"))
		})
	}
}

// TestDropUnprivileged has a process give up what it does not have.
func TestDropUnprivileged(t *testing.T) {
	testutil.RequireRoot(t)
	dir, err := os.MkdirTemp("", "privilege") //nolint:usetesting // anybody must be able to enter it
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	require.NoError(t, os.Chmod(dir, 0o755))
	content, err := os.ReadFile(os.Args[0])
	require.NoError(t, err)
	program := filepath.Join(dir, "program")
	require.NoError(t, os.WriteFile(program, content, 0o755))
	out := drop(t, program, "network", &syscall.Credential{Uid: 65534, Gid: 65534})
	require.Contains(t, out, "left: no capability, and no way to new privileges\n")
}
