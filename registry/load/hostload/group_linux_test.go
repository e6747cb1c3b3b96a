package hostload_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/waylume/waylume/internal/testutil/vm"
	"github.com/waylume/waylume/registry/load"
	"github.com/waylume/waylume/registry/load/hostload"
)

// TestVM looks at control groups in a virtual machine, where they are nobody else's.
func TestVM(t *testing.T) {
	vm.Require(t)
	if testing.Short() {
		t.Skip("a virtual machine takes a while")
	}
	vm.TestPackage(t, vm.Config{Modules: []string{"nf_conntrack", "veth"}, Time: 4 * time.Minute},
		"-test.v", "-test.timeout=3m", "-test.run=^TestControlGroup$|^TestThisHost$|^TestTraffic$")
}

// A group's quota and its memory are what counts of a process in it.
func TestControlGroup(t *testing.T) {
	if !vm.Inside() {
		t.Skip("TestVM runs it, in a machine whose control groups nobody else needs")
	}
	const root = "/sys/fs/cgroup"
	require.NoError(t, unix.Mount("cgroup2", root, "cgroup2", 0, ""))
	write := func(name, content string) {
		require.NoError(t, os.WriteFile(filepath.Join(root, name), []byte(content), 0o644))
	}
	const controllers = "+cpu +memory"
	write("cgroup.subtree_control", controllers)
	require.NoError(t, os.MkdirAll(filepath.Join(root, "slice", "service"), 0o755))
	write("slice/cgroup.subtree_control", controllers)
	write("slice/cpu.max", "50000 100000")
	write("slice/service/cpu.max", "100000 100000")
	const limit = 96 << 20
	write("slice/service/memory.max", strconv.Itoa(limit))
	write("slice/service/cgroup.procs", strconv.Itoa(os.Getpid()))
	used := func() uint64 {
		stat, err := os.ReadFile(filepath.Join(root, "slice", "cpu.stat"))
		require.NoError(t, err)
		n, err := strconv.ParseUint(strings.Fields(string(stat))[1], 10, 64)
		require.NoError(t, err)
		return n
	}
	ballast := bytes.Repeat([]byte{1}, limit*2/3)

	r := reader(t, hostload.Config{Uplink: "lo"})
	sample := func() load.Sample {
		before := used()
		s, err := r.Sample(t.Context())
		require.NoError(t, err)
		require.Equal(t, "sys/fs/cgroup/slice", s.Quota.Source, "the group above has less")
		require.GreaterOrEqual(t, s.Quota.Used, before)
		require.LessOrEqual(t, s.Quota.Used, used())
		require.Equal(t, uint64(limit), s.Memory.Of)
		require.Greater(t, s.Memory.Used, uint64(len(ballast)))
		require.Positive(t, s.Conntrack.Of)
		return s
	}
	meter, err := load.NewMeter(load.Config{})
	require.NoError(t, err)
	first := sample()
	meter.Add(first)
	const second = 1_000_000 // of a processor, for which half a one takes two
	for now := first.Quota.Used; now < first.Quota.Used+second; {
		now = used()
	}
	last := sample()
	elapsed := last.At.Sub(first.At)
	require.InDelta(t, 0.5*float64(elapsed.Microseconds()), float64(last.Quota.Total-first.Quota.Total), 1)
	l := meter.Add(last)
	require.Greater(t, *l.CPU, 0.5)
	require.InDelta(t, float64(last.Memory.Used)/limit, *l.Memory, 0.2)
	require.NotEmpty(t, ballast)

	// Out of the groups again, the machine's is what counts.
	write("cgroup.procs", strconv.Itoa(os.Getpid()))
	s, err := r.Sample(t.Context())
	require.NoError(t, err)
	require.Zero(t, s.Quota)
	require.Greater(t, s.Memory.Of, uint64(limit))
	require.NoError(t, errors.Join(os.Remove(filepath.Join(root, "slice", "service")), os.Remove(filepath.Join(root, "slice"))))
	require.NoError(t, unix.Unmount(root, 0))
}
