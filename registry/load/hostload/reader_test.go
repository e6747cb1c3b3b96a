package hostload_test

import (
	"context"
	"fmt"
	"maps"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/registry"
	"github.com/waylume/waylume/registry/load"
	"github.com/waylume/waylume/registry/load/hostload"
)

// whole is a sample of [machine].
func whole() load.Sample {
	const used = 6330118 + 487311 + 1863789 + 7 + 155628 + 18056
	return load.Sample{
		CPU:       load.Busy{Source: "proc/stat", Used: used, Total: used + 5830603 + 63281},
		Memory:    load.Fill{Used: 1_000_000 << 10, Of: 4_000_000 << 10},
		Conntrack: load.Fill{Used: 1024, Of: 262144},
		Uplink: load.Uplink{
			Name: "eth0", Index: 4, ReceivedBytes: 613777797, ReceivedPackets: 42418, SentBytes: 4501884, SentPackets: 44353, Capacity: 10e9,
		},
	}
}

func TestMachine(t *testing.T) {
	s, err := sampled(t, machine())
	require.NoError(t, err)
	require.Equal(t, whole(), s)
}

// What a kernel may do without is not missed.
func TestOptionalParts(t *testing.T) {
	const conntrack = "proc/sys/net/netfilter/nf_conntrack_"
	for name, c := range map[string]struct {
		files files
		want  func(*load.Sample)
	}{
		"no conntrack":        {machine().without(conntrack+"count", conntrack+"max"), func(s *load.Sample) { s.Conntrack = load.Fill{} }},
		"no bound":            {machine().with(files{conntrack + "max": "0\n"}), func(s *load.Sample) { s.Conntrack.Of = 0 }},
		"no control groups":   {machine().without("proc/self/cgroup"), func(*load.Sample) {}},
		"version 1":           {machine().with(files{"proc/self/cgroup": "4:memory:/a\n1:cpu:/\n"}), func(*load.Sample) {}},
		"both versions":       {machine().with(files{"proc/self/cgroup": "4:memory:/a\n0::/\n"}), func(*load.Sample) {}},
		"another's name":      {machine().with(files{"proc/self/cgroup": "0::/docker/0123\n"}), func(*load.Sample) {}},
		"above the namespace": {machine().with(files{"proc/self/cgroup": "0::/../..\n"}), func(*load.Sample) {}},
		"no sysfs": {
			machine().without("sys/class/net/eth0/ifindex", "sys/class/net/eth0/speed", "sys/class/net/eth0/device/uevent"),
			func(s *load.Sample) { s.Uplink.Index, s.Uplink.Capacity = 0, 0 },
		},
		"no steal": {
			machine().with(files{"proc/stat": "cpu 1 2 3 4\n"}),
			func(s *load.Sample) { s.CPU.Used, s.CPU.Total = 6, 10 },
		},
		"more available than there is": {
			machine().with(files{"proc/meminfo": "MemTotal: 10 kB\nMemAvailable: 11 kB\n"}),
			func(s *load.Sample) { s.Memory = load.Fill{Of: 10 << 10} },
		},
	} {
		s, err := sampled(t, c.files)
		require.NoError(t, err, name)
		want := whole()
		c.want(&want)
		require.Equal(t, want, s, name)
	}
}

// What cannot be read is named, and the rest is there.
func TestPartialResults(t *testing.T) {
	type loss struct {
		file string
		lose func(*load.Sample)
	}
	quota := files{waylumed + "/cpu.max": "150000 100000\n", waylumed + "/cpu.stat": "usage_usec 5\n"}
	memory := files{
		waylumed + "/memory.max": "1000000\n", waylumed + "/memory.current": "990000\n", waylumed + "/memory.stat": "anon 1\ninactive_file 0\n",
	}
	fresh := func() files { return machine().with(quota).with(memory) }
	want := whole()
	want.Quota = load.Busy{Source: waylumed, Used: 5, Total: 1}
	want.Memory = load.Fill{Used: 990000, Of: 1000000}
	s, err := sampled(t, fresh())
	require.NoError(t, err)
	require.Equal(t, want, s)

	losses := []loss{
		{"proc/stat", func(s *load.Sample) { s.CPU = load.Busy{} }},
		{waylumed + "/cpu.max", func(s *load.Sample) { s.Quota = load.Busy{} }},
		{waylumed + "/cpu.stat", func(s *load.Sample) { s.Quota = load.Busy{} }},
		{"proc/meminfo", func(*load.Sample) {}},
		{waylumed + "/memory.max", func(s *load.Sample) { s.Memory = whole().Memory }},
		{waylumed + "/memory.current", func(s *load.Sample) { s.Memory = whole().Memory }},
		{waylumed + "/memory.stat", func(s *load.Sample) { s.Memory = whole().Memory }},
		{"proc/sys/net/netfilter/nf_conntrack_count", func(s *load.Sample) { s.Conntrack = load.Fill{} }},
		{"proc/sys/net/netfilter/nf_conntrack_max", func(s *load.Sample) { s.Conntrack.Of = 0 }},
		{"proc/self/net/dev", func(s *load.Sample) { s.Uplink = load.Uplink{} }},
		{"sys/class/net/eth0/ifindex", func(s *load.Sample) { s.Uplink.Index = 0 }},
	}
	for _, l := range losses {
		for _, content := range []string{
			"", "x\n", "cpu 1 2\n", "cpu a b c d\n", "-1\n", "99999999999999999999\n", "12 0\n", "0 12\n", "eth0: 1 2\n",
		} {
			s, err := sampled(t, fresh().with(files{l.file: content}))
			want := want
			l.lose(&want)
			require.Error(t, err, "%s: %q", l.file, content)
			require.Equal(t, want, s, "%s: %q", l.file, content)
		}
	}
	for _, name := range []string{"proc/stat", "proc/meminfo", "proc/self/net/dev", waylumed + "/cpu.stat", waylumed + "/memory.current"} {
		_, err := sampled(t, fresh().without(name))
		require.ErrorContains(t, err, name)
	}
	s, err = sampled(t, files{})
	require.Zero(t, s)
	require.ErrorIs(t, err, hostload.ErrNoUplink)
}

func TestQuota(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const slice = "sys/fs/cgroup/system.slice"
		f := machine().with(files{
			waylumed + "/cpu.max": "400000 100000\n", waylumed + "/cpu.stat": "usage_usec 7000000\nuser_usec 1\n",
			slice + "/cpu.max": "150000 100000\n", slice + "/cpu.stat": "usage_usec 9000000\nuser_usec 1\n",
		}).fs()
		r := reader(t, hostload.Config{Root: f})
		sample := func() load.Busy {
			s, err := r.Sample(t.Context())
			require.NoError(t, err)
			return s.Quota
		}
		require.Equal(t, load.Busy{Source: slice, Used: 9_000_000, Total: 1}, sample(), "the group above has less")
		time.Sleep(4 * time.Second)
		require.Equal(t, uint64(6_000_001), sample().Total, "of one and a half processors")
		f[slice+"/cpu.max"].Data = []byte("50000 100000\n")
		time.Sleep(4 * time.Second)
		require.Equal(t, uint64(8_000_001), sample().Total, "of half a processor")
		f[slice+"/cpu.max"].Data = []byte("max 100000\n")
		time.Sleep(4 * time.Second)
		require.Equal(t, load.Busy{Source: waylumed, Used: 7_000_000, Total: 1}, sample())
		f[waylumed+"/cpu.max"].Data = []byte("max 100000\n")
		require.Zero(t, sample())
	})
}

// In a container the group is the root of what is to be seen.
func TestContainer(t *testing.T) {
	const root = "sys/fs/cgroup"
	f := machine().with(files{
		"proc/self/cgroup": "0::/\n", root + "/cpu.max": "200000 100000\n", root + "/cpu.stat": "usage_usec 11\n",
		root + "/memory.max": "1000\n", root + "/memory.current": "900\n", root + "/memory.stat": "anon 5\ninactive_file 200\n",
	})
	s, err := sampled(t, f)
	require.NoError(t, err)
	want := whole()
	want.Quota = load.Busy{Source: root, Used: 11, Total: 1}
	want.Memory = load.Fill{Used: 700, Of: 1000}
	require.Equal(t, want, s)

	s, err = sampled(t, f.with(files{root + "/memory.stat": "inactive_file 800\n"}))
	require.NoError(t, err)
	require.Equal(t, whole().Memory, s.Memory, "the machine's is fuller")
	s, err = sampled(t, f.with(files{root + "/memory.max": "0\n"}))
	require.NoError(t, err)
	require.Equal(t, whole().Memory, s.Memory)
}

func TestQuotaIsMeasured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const root = "sys/fs/cgroup"
		f := machine().with(files{"proc/self/cgroup": "0::/\n", root + "/cpu.max": "200000 100000\n"}).fs()
		r := reader(t, hostload.Config{Root: f})
		meter, err := load.NewMeter(load.Config{})
		require.NoError(t, err)
		var l registry.Load
		for i := range 10 {
			f[root+"/cpu.stat"] = machine().with(files{root + "/cpu.stat": fmt.Sprintf("usage_usec %d\n", 7_000_000*i)}).fs()[root+"/cpu.stat"]
			s, err := r.Sample(t.Context())
			require.NoError(t, err)
			l = meter.Add(s)
			time.Sleep(5 * time.Second)
		}
		require.InDelta(t, 0.7, *l.CPU, 0.0001, "7 s of processors in 5 s of two")
	})
}

func TestConfig(t *testing.T) {
	for _, cfg := range []hostload.Config{
		{Uplink: "../../etc"}, {Uplink: ".."}, {Uplink: "."}, {Uplink: "eth0:1"}, {Uplink: "a b"}, {Uplink: "sixteen-letters-"}, {Capacity: -1},
	} {
		_, err := hostload.New(cfg)
		require.ErrorIs(t, err, registry.ErrInvalid, "%+v", cfg)
	}
	_, err := hostload.New(hostload.Config{Uplink: "a/b", Capacity: math.MinInt64})
	require.ErrorContains(t, err, "Uplink")
	require.ErrorContains(t, err, "Capacity")
}

func TestContextEnded(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := reader(t, hostload.Config{Root: machine().fs()}).Sample(ctx)
	require.ErrorIs(t, err, context.Canceled)
}

// Whatever a file holds, the rest of the sample is what it should be, and a meter makes a load of it.
func FuzzSample(f *testing.F) {
	names := []string{
		"proc/stat", "proc/meminfo", "proc/self/cgroup", "proc/sys/net/netfilter/nf_conntrack_count",
		"proc/self/net/route", "proc/self/net/dev",
		"proc/self/net/ipv6_route", waylumed + "/cpu.max", waylumed + "/cpu.stat", waylumed + "/memory.max", waylumed + "/memory.stat",
		"sys/class/net/eth0/ifindex", "sys/class/net/eth0/speed", "sys/class/net/eth0/uevent",
	}
	base := machine().with(files{
		waylumed + "/cpu.stat": "usage_usec 5\n", waylumed + "/memory.current": "9\n", waylumed + "/memory.stat": "inactive_file 5\n",
		"proc/self/net/ipv6_route": v6Default,
	})
	for i, name := range names {
		f.Add(uint8(i), base[name])
		f.Add(uint8(i), "")
	}
	f.Add(uint8(7), "150000 100000\n")
	f.Add(uint8(9), "1000\n")
	f.Add(uint8(4), routes+"eth0\t00000000\t0\tFFFF\t0\t0\t-1\t00000000\n")
	f.Fuzz(func(t *testing.T, which uint8, content string) {
		name := names[int(which)%len(names)]
		tree := maps.Clone(base)
		if name == "proc/self/net/ipv6_route" {
			delete(tree, "proc/self/net/route")
		}
		tree[name] = content
		r := reader(t, hostload.Config{Root: tree.fs()})
		meter, err := load.NewMeter(load.Config{})
		require.NoError(t, err)
		for range 2 {
			s, err := r.Sample(t.Context())
			if err != nil {
				require.NotEmpty(t, err.Error())
			}
			s.At = s.At.Add(time.Hour)
			l := meter.Add(s)
			require.GreaterOrEqual(t, l.Score, 0.0)
			require.LessOrEqual(t, l.Score, 1.0)
			if name != "proc/stat" {
				require.Equal(t, whole().CPU, s.CPU)
			}
			if name != "proc/sys/net/netfilter/nf_conntrack_count" {
				require.Equal(t, whole().Conntrack, s.Conntrack)
			}
		}
	})
}
