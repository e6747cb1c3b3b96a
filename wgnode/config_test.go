package wgnode

import (
	"io"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/ipam"
	"github.com/waylume/waylume/isolation"
	"github.com/waylume/waylume/shaping"
)

func TestDefaults(t *testing.T) {
	n, err := New(Config{Dataplane: &fakeDataplane{}})
	require.NoError(t, err)
	require.Equal(t, 1420, n.cfg.MTU)
	require.Equal(t, DefaultDNS(), n.cfg.DNS)
	require.Equal(t, 25*time.Second, n.cfg.Keepalive)
	require.Equal(t, DefaultEventBuffer, n.cfg.EventBuffer)
	require.Equal(t, time.Minute, n.cfg.SyncPeriod)
	require.Equal(t, time.Second, n.cfg.CheckpointPeriod)
	require.Equal(t, 15*time.Minute, n.cfg.UsageLogPeriod)
	require.NotNil(t, n.cfg.Logger)
	require.NotNil(t, n.cfg.Store)
	require.NoError(t, n.Start(t.Context()))
	require.Equal(t, []netip.Prefix{ipam.DefaultIPv4(), ipam.DefaultIPv6()}, n.up.pool.Prefixes())
	require.NoError(t, n.Close())

	n, err = New(Config{Dataplane: &fakeDataplane{}, DNS: []netip.Addr{}, Keepalive: -1})
	require.NoError(t, err)
	require.Empty(t, n.cfg.DNS)
	require.Zero(t, n.cfg.Keepalive)
}

func TestNewNamesEveryProblem(t *testing.T) {
	_, err := New(Config{
		Endpoint:         "not an endpoint",
		Pool:             ipam.Config{Prefixes: []netip.Prefix{netip.MustParsePrefix("10.0.0.1/8"), {}}},
		MTU:              1279,
		DNS:              []netip.Addr{netip.MustParseAddr("9.9.9.9"), {}, netip.IPv4Unspecified(), netip.MustParseAddr("fe80::1%eth0")},
		Keepalive:        1500 * time.Millisecond,
		SpeedLimit:       shaping.Limit{Download: 1},
		Policy:           isolation.Policy{Allow: []isolation.Rule{{Ports: []isolation.PortRange{{First: 9, Last: 1}}}}},
		EventBuffer:      -1,
		SyncPeriod:       time.Millisecond,
		CheckpointPeriod: -time.Second,
		UsageLogPeriod:   25 * time.Minute,
	})
	require.ErrorIs(t, err, ErrInvalid)
	var invalid *ValidationError
	require.ErrorAs(t, err, &invalid)
	var fields []string
	for _, p := range invalid.Problems {
		fields = append(fields, p.Field)
	}
	require.Equal(t, []string{"Endpoint", "Pool.Prefixes[0]", "Pool.Prefixes[1]", "MTU", "DNS[1]", "DNS[2]", "DNS[3]", "Keepalive",
		"SpeedLimit", "Policy", "Dataplane", "EventBuffer", "SyncPeriod", "CheckpointPeriod", "UsageLogPeriod"}, fields)
	require.NotContains(t, err.Error(), "\n")

	for _, c := range []Config{
		{MTU: 9001}, {Keepalive: 65536 * time.Second}, {EventBuffer: MaxEventBuffer + 1},
		{DNS: make([]netip.Addr, maxDNS+1)},
	} {
		c.Dataplane = &fakeDataplane{}
		_, err := New(c)
		require.ErrorAs(t, err, &invalid)
		require.Len(t, invalid.Problems, 1)
	}
}

// TestConfigIsCopied changes what a configuration points to after New.
func TestConfigIsCopied(t *testing.T) {
	cfg := Config{
		Dataplane: &fakeDataplane{},
		DNS:       []netip.Addr{netip.MustParseAddr("9.9.9.9")},
		Pool:      ipam.Config{Prefixes: []netip.Prefix{netip.MustParsePrefix("192.168.7.0/24")}},
		Policy:    isolation.Policy{Allow: []isolation.Rule{{Name: "one", Protocol: isolation.UDP}}},
	}
	n, err := New(cfg)
	require.NoError(t, err)
	cfg.DNS[0], cfg.Pool.Prefixes[0], cfg.Policy.Allow[0].Name = netip.Addr{}, netip.Prefix{}, "spoiled"
	require.Equal(t, "9.9.9.9", n.cfg.DNS[0].String())
	require.Equal(t, "192.168.7.0/24", n.cfg.Pool.Prefixes[0].String())
	require.Equal(t, "one", n.cfg.Policy.Allow[0].Name)
}

func TestErrorTexts(t *testing.T) {
	require.Equal(t, "wgnode: sync: injected fault", (&OpError{Op: "sync", Err: errInjected}).Error())
	require.Equal(t, `wgnode: remove account "a": injected fault`, (&OpError{"remove", OfAccount("a"), errInjected}).Error())
	err := error(&NotSupportedError{"ICMP echo", "ping_group_range to include this process's group"})
	require.ErrorIs(t, err, ErrNotSupported)
	require.Equal(t, "ICMP echo is not supported here: it requires ping_group_range to include this process's group", err.Error())
	corrupt := error(&CorruptError{RecordPeer, "k", io.ErrUnexpectedEOF})
	require.ErrorIs(t, corrupt, ErrCorrupt)
	require.ErrorIs(t, corrupt, io.ErrUnexpectedEOF)
	require.Equal(t, "nothing", Subject{}.String())
	require.True(t, strings.HasSuffix(abridge(strings.Repeat("x", 1000)), "x..."))
}
