package hostload_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/registry/load"
	"github.com/waylume/waylume/registry/load/hostload"
)

const (
	anywhere = "00000000000000000000000000000000"
	v6Own    = "fe800000000000000000000000000000 40 " + anywhere + " 00 " + anywhere + " 00000100 00000001 00000000 00000001      wg0\n"
	v6Reject = anywhere + " 00 " + anywhere + " 00 " + anywhere + " ffffffff 00000001 00000000 00200200       lo\n"
	v6Better = anywhere + " 00 " + anywhere + " 00 fd000000000000000000000000000001 00000400 00000003 00000000 00000003      wg0\n"
	v6Worse  = anywhere + " 00 " + anywhere + " 00 fd000000000000000000000000000001 00000800 00000003 00000000 00000003     eth0\n"

	v6Default = v6Own + v6Reject + v6Worse
)

func TestDefaultRoute(t *testing.T) {
	line := func(name, destination, flags, metric, mask string) string {
		return name + "\t" + destination + "\t010200C0\t" + flags + "\t0\t0\t" + metric + "\t" + mask + "\t0\t0\t0 \n"
	}
	const zero = "00000000"
	eth0, wg0 := line("eth0", zero, "0003", "100", zero), line("wg0", zero, "0001", "50", zero)
	for name, c := range map[string]struct {
		v4, v6 string
		want   string // empty: none
	}{
		"one":                        {routes + eth0, "", "eth0"},
		"the lowest metric":          {routes + eth0 + wg0, "", "wg0"},
		"whatever their order":       {routes + wg0 + eth0, "", "wg0"},
		"the first of two":           {routes + line("wg0", zero, "0003", "100", zero) + eth0, "", "wg0"},
		"halves are no default":      {routes + line("wg0", zero, "0003", "0", "00000080") + eth0, "", "eth0"},
		"down":                       {routes + line("wg0", zero, "0002", "0", zero) + eth0, "", "eth0"},
		"unreachable":                {routes + line("*", zero, "0200", "0", zero) + eth0, "", "eth0"},
		"unreachable, and up":        {routes + line("wg0", zero, "0201", "0", zero) + eth0, "", "eth0"},
		"a high metric has a sign":   {routes + line("wg0", zero, "0003", "-1", zero) + eth0, "", "eth0"},
		"a net comes after":          {routes + eth0 + line("wg0", "0000000A", "0001", "0", "000000FF"), "", "eth0"},
		"IPv4 goes before":           {routes + eth0, v6Better, "eth0"},
		"IPv6 alone":                 {routes + line("eth0", "0000000A", "0001", "0", "000000FF"), v6Default, "eth0"},
		"IPv6, lowest metric":        {routes, v6Default + v6Better, "wg0"},
		"IPv6, whatever their order": {routes, v6Better + v6Default, "wg0"},
		"none":                       {routes, v6Own + v6Reject, ""},
		"not even a file":            {"", "", ""},
	} {
		f := machine().without("proc/self/net/route")
		if c.v4 != "" {
			f["proc/self/net/route"] = c.v4
		}
		if c.v6 != "" {
			f["proc/self/net/ipv6_route"] = c.v6
		}
		s, err := sampled(t, f)
		if c.want == "" {
			require.ErrorIs(t, err, hostload.ErrNoUplink, name)
		} else {
			require.NoError(t, err, name)
		}
		require.Equal(t, c.want, s.Uplink.Name, name)
		require.Equal(t, whole().Memory, s.Memory, name)
	}
	for _, bad := range []string{
		line("eth0", zero, "x", "0", zero), line("eth0", zero, "0003", "x", zero), eth0 + line("eth0", zero, "g", "0", zero),
	} {
		_, err := sampled(t, machine().with(files{"proc/self/net/route": routes + bad}))
		require.ErrorContains(t, err, "proc/self/net/route")
	}
}

func TestRouteChanges(t *testing.T) {
	tree := machine().fs()
	r := reader(t, hostload.Config{Root: tree})
	sample := func() load.Uplink {
		s, err := r.Sample(t.Context())
		require.NoError(t, err)
		return s.Uplink
	}
	require.Equal(t, whole().Uplink, sample())
	tree["proc/self/net/route"].Data = []byte(routes + "wg0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\n")
	require.Equal(t, load.Uplink{
		Name: "wg0", Index: 7, ReceivedBytes: 1000, ReceivedPackets: 10, SentBytes: 2000, SentPackets: 20,
	}, sample())
}

func TestConfiguredUplink(t *testing.T) {
	r := reader(t, hostload.Config{Root: machine().without("proc/self/net/route").fs(), Uplink: "wg0", Capacity: 5e8})
	s, err := r.Sample(t.Context())
	require.NoError(t, err)
	require.Equal(t, "wg0", s.Uplink.Name)
	require.Equal(t, int64(5e8), s.Uplink.Capacity)

	r = reader(t, hostload.Config{Root: machine().fs(), Uplink: "eth"})
	s, err = r.Sample(t.Context())
	require.ErrorContains(t, err, "there is no interface eth:")
	require.Zero(t, s.Uplink)
}

func TestSpeed(t *testing.T) {
	const dir = "sys/class/net/eth0/"
	virtual := func() files { return machine().without(dir + "device/uevent") }
	for name, c := range map[string]struct {
		files files
		want  int64
	}{
		"a device's":     {machine(), 10e9},
		"100 Gbit/s":     {machine().with(files{dir + "speed": "100000\n"}), 100e9},
		"unknown":        {machine().with(files{dir + "speed": "-1\n"}), 0},
		"unknown, too":   {machine().with(files{dir + "speed": "4294967295\n"}), 0},
		"no link":        {machine().with(files{dir + "speed": "0\n"}), 0},
		"none":           {machine().without(dir + "speed"), 0},
		"nonsense":       {machine().with(files{dir + "speed": "fast\n"}), 0},
		"made up":        {virtual(), 0},
		"a bridge's":     {virtual().with(files{dir + "uevent": "DEVTYPE=bridge\nINTERFACE=eth0\n"}), 0},
		"a bond's":       {virtual().with(files{dir + "uevent": "DEVTYPE=bond\nINTERFACE=eth0\n"}), 10e9},
		"a VLAN's":       {virtual().with(files{dir + "uevent": "INTERFACE=eth0\nDEVTYPE=vlan\n"}), 10e9},
		"a wrong uevent": {virtual().with(files{dir + "uevent": "DEVTYPE=bonded\n"}), 0},
	} {
		s, err := sampled(t, c.files)
		require.NoError(t, err, name)
		require.Equal(t, c.want, s.Uplink.Capacity, name)
	}
}

// A card is not asked each time how fast it is.
func TestSpeedIsReadNowAndThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tree := machine().fs()
		r := reader(t, hostload.Config{Root: tree})
		capacity := func() int64 {
			s, err := r.Sample(t.Context())
			require.NoError(t, err)
			return s.Uplink.Capacity
		}
		require.Equal(t, int64(10e9), capacity())
		tree["sys/class/net/eth0/speed"].Data = []byte("1000\n")
		time.Sleep(59 * time.Second)
		require.Equal(t, int64(10e9), capacity())
		time.Sleep(time.Second)
		require.Equal(t, int64(1e9), capacity())
		tree["sys/class/net/eth0/speed"].Data = []byte("2500\n")
		tree["sys/class/net/eth0/ifindex"].Data = []byte("9\n")
		require.Equal(t, int64(25e8), capacity(), "another interface of this name")
	})
}
