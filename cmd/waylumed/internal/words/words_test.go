package words_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/cmd/waylumed/internal/words"
	"github.com/waylume/waylume/quota"
	"github.com/waylume/waylume/shaping"
	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/kernel"
)

func TestDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{"90d": 90 * 24 * time.Hour, "36h": 36 * time.Hour, "15m": 15 * time.Minute} {
		d, err := words.Duration(text)
		require.NoError(t, err)
		require.Equal(t, want, d)
		require.Equal(t, text, words.InWords(want))
	}
	require.Equal(t, "1m30s", words.InWords(90*time.Second))
	for _, text := range []string{"", "soon", "5", "d", "-1d", "70000d"} {
		_, err := words.Duration(text)
		require.EqualError(t, err, `"`+text+`" is not a duration: give one as 15m, 24h or 90d`)
	}
}

func TestAmounts(t *testing.T) {
	rate, err := words.Rate("20mbit")
	require.NoError(t, err)
	require.Equal(t, 20*shaping.Rate(1_000_000), rate)
	_, err = words.Rate("1bit")
	require.ErrorContains(t, err, "8kbit")
	require.NotContains(t, err.Error(), "shaping:")

	amount, err := words.Amount("5GiB")
	require.NoError(t, err)
	require.Equal(t, 5*quota.GiB, amount)
	amount, err = words.Amount("none")
	require.NoError(t, err)
	require.Zero(t, amount)
	_, err = words.Amount("5G")
	require.Error(t, err)
	require.NotContains(t, err.Error(), "quota:")
}

func TestPrefix(t *testing.T) {
	for text, want := range map[string]string{
		"198.51.100.7": "198.51.100.7/32", "198.51.100.0/24": "198.51.100.0/24", "2001:db8::1": "2001:db8::1/128",
	} {
		p, err := words.Prefix(text)
		require.NoError(t, err)
		require.Equal(t, netip.MustParsePrefix(want), p)
	}
	_, err := words.Prefix("198.51.100.7/24")
	require.EqualError(t, err, "198.51.100.7/24 is either 198.51.100.7 or 198.51.100.0/24: give the one that is meant")
	_, err = words.Prefix("fe80::1%eth0")
	require.ErrorContains(t, err, "is neither an address nor a prefix")
	for _, text := range []string{"0", "65536", "ssh", ""} {
		_, err := words.Port(text)
		require.ErrorContains(t, err, "is not a TCP port: give 1 to 65535")
	}
}

func TestChecks(t *testing.T) {
	require.Empty(t, words.Node(wgnode.Config{}))
	require.Empty(t, words.Kernel(kernel.Config{}))
	problems := words.Node(wgnode.Config{Endpoint: "a b", UsageLogPeriod: 7 * time.Minute})
	require.Len(t, problems, 2)
	require.Equal(t, "Endpoint", problems[0].Field)
	require.Equal(t, "UsageLogPeriod", problems[1].Field)

	problems = words.Kernel(kernel.Config{
		Interface: "0", SourceAddrs: []netip.Addr{netip.IPv6Loopback()},
		ControlAllow: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")},
	})
	require.Len(t, problems, 3)
	require.Equal(t, "Interface", problems[0].Field)
	require.Regexp(t, `^"0": use `, problems[0].Text)
	require.Equal(t, "SourceAddrs", problems[1].Field)
	require.Equal(t, words.Problem{Field: "ControlAllow", Text: "set without ControlPorts: name the ports that it is about"},
		problems[2])
}
