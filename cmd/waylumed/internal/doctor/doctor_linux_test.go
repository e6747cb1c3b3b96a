package doctor

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/waylume/waylume/internal/testutil"
	"github.com/waylume/waylume/wgnode/kernel"
)

// childVariable makes TestChild write its report to descriptor 3.
const childVariable = "WAYLUME_TEST_DOCTOR_CHILD"

func TestChild(t *testing.T) {
	if os.Getenv(childVariable) == "" {
		t.Skip("only as another test's child")
	}
	r, err := Examine(t.Context())
	require.NoError(t, err)
	out := os.NewFile(3, "report")
	require.NoError(t, errors.Join(json.NewEncoder(out).Encode(r), out.Close()))
}

// examineAs has this host examined by nobody, with capabilities.
func examineAs(t *testing.T, capabilities ...uintptr) (r *Report) {
	t.Helper()
	testutil.RequireRoot(t)
	reader, writer, err := os.Pipe()
	require.NoError(t, err)
	defer reader.Close()
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestChild$")
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), childVariable+"=yes")
	cmd.ExtraFiles = []*os.File{writer}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}, AmbientCaps: capabilities}
	out, err := cmd.CombinedOutput()
	require.NoError(t, writer.Close())
	require.NoError(t, err, "%s", out)
	require.NoError(t, json.NewDecoder(reader).Decode(&r))
	return r
}

// by returns a feature by its name.
func (r *Report) by(t *testing.T, name string) Feature {
	t.Helper()
	i := slices.IndexFunc(r.Features, func(f Feature) bool { return f.Name == name })
	require.GreaterOrEqual(t, i, 0, name)
	return r.Features[i]
}

// This host, as root sees it: what is decided here is what is decided for a node, and what can be tried was tried.
func TestExamine(t *testing.T) {
	testutil.RequireRoot(t)
	r, err := Examine(t.Context())
	require.NoError(t, err)
	require.Equal(t, "linux", r.Host.OS)
	require.NotEmpty(t, r.Host.Kernel)
	require.Zero(t, r.Host.UserID)
	require.Equal(t, []string{"CAP_NET_ADMIN", "CAP_SYS_ADMIN"}, r.Host.Capabilities)
	require.True(t, r.tried())
	require.Empty(t, r.FirewallsUnknown)
	if err := kernel.Supported(t.Context()); err == nil {
		require.Equal(t, kernelDataplane, r.Verdict.Dataplane)
	} else {
		require.Equal(t, userspaceDataplane, r.Verdict.Dataplane)
		require.Equal(t, strings.ReplaceAll(err.Error(), "\n", "; "), r.Verdict.Reason)
	}
	for _, f := range r.Features {
		require.NotEqual(t, kernel.Unknown, f.Answer, "%+v", f)
	}
}

// Who may try nothing reads, and says nothing that trying it gives the lie.
func TestExamineUnprivileged(t *testing.T) {
	r := examineAs(t)
	known, err := Examine(t.Context())
	require.NoError(t, err)
	require.Equal(t, 65534, r.Host.UserID)
	require.Empty(t, r.Host.Capabilities)
	require.False(t, r.tried())
	require.Equal(t, userspaceDataplane, r.Verdict.Dataplane)
	require.Contains(t, r.Verdict.Reason, "run as root or with CAP_NET_ADMIN")
	require.Equal(t, "CAP_NET_ADMIN", r.Verdict.Changes[0].Feature)
	require.Contains(t, r.FirewallsUnknown, "run as root or with CAP_NET_ADMIN")
	for i, f := range r.Features {
		require.Equal(t, known.Features[i].Name, f.Name)
		switch {
		case f.Name == "CAP_NET_ADMIN":
			require.Equal(t, kernel.Absent, f.Answer)
		case f.Answer != kernel.Unknown:
			require.Equal(t, known.Features[i].Answer, f.Answer, "%+v", f)
		}
	}
	whole := r.by(t, "nft tables, whole")
	require.Equal(t, kernel.Unknown, whole.Answer)
	require.Contains(t, whole.Reason, "make a network namespace: operation not permitted: run as root or with CAP_SYS_ADMIN")
	require.Equal(t, kernel.Unknown, r.by(t, "IPv4 forwarding").Answer, "root may write it")
}

// With CAP_NET_ADMIN alone, as a container has it, more can be asked, and still nothing be tried.
func TestExamineNetAdmin(t *testing.T) {
	r := examineAs(t, unix.CAP_NET_ADMIN)
	require.Equal(t, []string{"CAP_NET_ADMIN"}, r.Host.Capabilities)
	require.False(t, r.tried())
	require.Empty(t, r.FirewallsUnknown)
	for _, name := range []string{"CAP_NET_ADMIN", "nftables", "conntrack over netlink", "IPv4 forwarding", "IPv6 forwarding"} {
		f := r.by(t, name)
		require.Equal(t, kernel.There, f.Answer, "%+v", f)
		require.Equal(t, kernel.SourceAsked, f.Source, "%+v", f)
	}
	if tun := r.by(t, tunDevice); tun.Answer == kernel.Absent { // the file is root's alone on some systems
		require.Contains(t, tun.Requires, "a /dev/net/tun that this process may open")
		require.Contains(t, tun.Reason, "permission denied")
	}
	require.Equal(t, kernel.Unknown, r.by(t, "nft tables, whole").Answer)
}
