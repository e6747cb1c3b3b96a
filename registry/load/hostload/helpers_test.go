package hostload_test

import (
	"maps"
	"os"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/internal/testutil/netns"
	"github.com/waylume/waylume/registry/load"
	"github.com/waylume/waylume/registry/load/hostload"
)

func TestMain(m *testing.M) { os.Exit(netns.Main(m)) }

// files are what proc and sys say.
type files map[string]string

// machine is a virtual machine with a card that says how fast it is, and no control group with a limit.
func machine() files {
	return files{
		"proc/stat": "cpu  6330118 487311 1863789 5830603 63281 7 155628 18056 3000 200\n" +
			"cpu0 3170721 243443 916310 2905243 54845 0 78729 8990 0 0\n" + "intr 1 2 3\n",
		"proc/meminfo":     "MemTotal:        4000000 kB\nMemFree:          200000 kB\nMemAvailable:    3000000 kB\nBuffers:          100 kB\n",
		"proc/self/cgroup": "0::/system.slice/waylumed.service\n",
		"proc/sys/net/netfilter/nf_conntrack_count": "1024\n",
		"proc/sys/net/netfilter/nf_conntrack_max":   "262144\n",
		"sys/fs/cgroup/cgroup.controllers":          "cpu memory pids\n",
		"sys/fs/cgroup/system.slice/cpu.max":        "max 100000\n",
		"sys/fs/cgroup/system.slice/memory.max":     "max\n",
		waylumed + "/cpu.max":                       "max 100000\n",
		waylumed + "/memory.max":                    "max\n",
		"proc/self/net/route": routes + "eth0\t00000000\t010200C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\n" +
			"eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n",
		"proc/self/net/dev":                devices,
		"sys/class/net/eth0/ifindex":       "4\n",
		"sys/class/net/eth0/speed":         "10000\n",
		"sys/class/net/eth0/device/uevent": "DRIVER=virtio_net\n",
		"sys/class/net/wg0/ifindex":        "7\n",
		"sys/class/net/wg0/uevent":         "DEVTYPE=wireguard\n",
	}
}

const (
	waylumed = "sys/fs/cgroup/system.slice/waylumed.service"
	routes   = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT   \n"
	devices  = `Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo: 68627851230 27407184    0    0    0     0          0         0 68627851230 27407184    0    0    0     0       0          0
  eth0: 613777797   42418    0    0    0     0          0         0  4501884   44353    0    0    0     0       0          0
   wg0:1000 10 0 0 0 0 0 0 2000 20 0 0 0 0 0 0
`
)

func (f files) with(changes files) files {
	maps.Copy(f, changes)
	return f
}

func (f files) without(names ...string) files {
	for _, name := range names {
		delete(f, name)
	}
	return f
}

func (f files) fs() fstest.MapFS {
	m := make(fstest.MapFS, len(f))
	for name, content := range f {
		m[name] = &fstest.MapFile{Data: []byte(content)}
	}
	return m
}

func reader(t testing.TB, cfg hostload.Config) *hostload.Reader {
	t.Helper()
	r, err := hostload.New(cfg)
	require.NoError(t, err)
	return r
}

// sampled is what is read of files, without the time.
func sampled(t testing.TB, f files) (load.Sample, error) {
	t.Helper()
	s, err := reader(t, hostload.Config{Root: f.fs()}).Sample(t.Context())
	require.False(t, s.At.IsZero())
	return undated(s), err
}

func undated(s load.Sample) load.Sample {
	return load.Sample{CPU: s.CPU, Quota: s.Quota, Memory: s.Memory, Conntrack: s.Conntrack, Peers: s.Peers, Uplink: s.Uplink}
}
