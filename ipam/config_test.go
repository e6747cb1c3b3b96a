package ipam_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/ipam"
)

func TestDefaultPool(t *testing.T) {
	for name, cfg := range map[string]ipam.Config{"zero": {}, "default": ipam.DefaultConfig()} {
		t.Run(name, func(t *testing.T) {
			pool, err := ipam.New(cfg)
			require.NoError(t, err)
			require.Equal(t, []ipam.Family{ipam.IPv4, ipam.IPv6}, pool.Families())
			require.Equal(t, prefixes("10.0.0.0/8 fd77:6179:6c75:6d65::/64"), pool.Prefixes())

			for family, want := range map[ipam.Family][3]string{
				ipam.IPv4: {"10.0.0.1", "10.0.0.2", "10.0.0.3"},
				ipam.IPv6: {"fd77:6179:6c75:6d65::1", "fd77:6179:6c75:6d65::2", "fd77:6179:6c75:6d65::3"},
			} {
				gateway, ok := pool.Gateway(family)
				require.True(t, ok)
				require.Equal(t, want[0], gateway.String())
				for _, w := range want[1:] {
					got, err := pool.Lease(family)
					require.NoError(t, err)
					require.Equal(t, w, got.String())
				}
			}
			require.NoError(t, pool.LeaseAddr(netip.MustParseAddr("10.255.255.254")))
			require.ErrorIs(t, pool.LeaseAddr(netip.MustParseAddr("10.255.255.255")), ipam.ErrReserved)
		})
	}
	require.Equal(t, ipam.DefaultQuarantine, ipam.DefaultConfig().Quarantine)
}

// TestConfigCopied: a caller may go on using the slices of his configuration, and those he is given.
func TestConfigCopied(t *testing.T) {
	cfg := ipam.Config{Prefixes: prefixes("10.0.0.0/24"), Excluded: prefixes("10.0.0.2/32")}
	pool, err := ipam.New(cfg)
	require.NoError(t, err)
	cfg.Prefixes[0], cfg.Excluded[0] = netip.Prefix{}, netip.Prefix{}
	pool.Prefixes()[0] = netip.Prefix{}
	require.Equal(t, prefixes("10.0.0.0/24"), pool.Prefixes())
	got, err := pool.Lease(ipam.IPv4)
	require.NoError(t, err)
	require.Equal(t, "10.0.0.3", got.String())
}

// TestTinyPrefixes holds what the package comment promises of the smallest prefixes.
func TestTinyPrefixes(t *testing.T) {
	for _, tt := range []struct {
		prefixes string
		gateway  string
		leases   string
	}{
		{"10.0.0.0/29", "10.0.0.1", "10.0.0.2 10.0.0.3 10.0.0.4 10.0.0.5 10.0.0.6"},
		{"10.0.0.0/30", "10.0.0.1", "10.0.0.2"},
		{"10.0.0.4/31", "10.0.0.4", "10.0.0.5"},
		{"10.0.0.4/32 10.0.0.8/30 10.0.0.2/31 10.0.0.6/32", "10.0.0.4", "10.0.0.9 10.0.0.10 10.0.0.2 10.0.0.3 10.0.0.6"},
		{"fd00::/126", "fd00::1", "fd00::2 fd00::3"},
		{"fd00::/127", "fd00::", "fd00::1"},
		{"fd00::9/128 fd00::4/126 fd00::2/127 fd00::/128", "fd00::9", "fd00::5 fd00::6 fd00::7 fd00::2 fd00::3 fd00::"},
	} {
		t.Run(tt.prefixes, func(t *testing.T) {
			pool, err := ipam.New(ipam.Config{Prefixes: prefixes(tt.prefixes)})
			require.NoError(t, err)
			family := pool.Families()[0]
			gateway, _ := pool.Gateway(family)
			require.Equal(t, tt.gateway, gateway.String())
			for want := range strings.FieldsSeq(tt.leases) {
				got, err := pool.Lease(family)
				require.NoError(t, err)
				require.Equal(t, want, got.String())
			}
			_, err = pool.Lease(family)
			require.ErrorIs(t, err, ipam.ErrExhausted)
		})
	}
}

func TestBadConfig(t *testing.T) {
	for _, tt := range []struct {
		name     string
		cfg      ipam.Config
		problems []string // what each error has in it
	}{
		{"zero prefix", ipam.Config{Prefixes: []netip.Prefix{{}}}, []string{"Prefixes[0]: invalid Prefix is no prefix"}},
		{"host bits", ipam.Config{Prefixes: prefixes("10.0.0.1/8")}, []string{"Prefixes[0]: 10.0.0.1/8 has host bits set; write 10.0.0.0/8"}},
		{"mapped", ipam.Config{Prefixes: prefixes("::ffff:10.0.0.0/104")}, []string{"is IPv4-mapped; write 10.0.0.0/8"}},
		{"mapped and more", ipam.Config{Prefixes: prefixes("::fffe:0:0/95")}, []string{"IPv4-mapped addresses"}},
		{"too large", ipam.Config{Prefixes: prefixes("10.0.0.0/7")}, []string{"is too large"}},
		{"too large, masked", ipam.Config{Prefixes: prefixes("64.0.0.0/2")}, []string{"each a /8 or longer"}},
		{"this network", ipam.Config{Prefixes: prefixes("0.1.0.0/16")}, []string{"unspecified"}},
		{"loopback", ipam.Config{Prefixes: prefixes("127.0.0.0/8 ::1/128")}, []string{"loopback", "loopback"}},
		{"link-local", ipam.Config{Prefixes: prefixes("169.254.1.0/24 fe80::/64")}, []string{"link-local", "link-local"}},
		{"multicast", ipam.Config{Prefixes: prefixes("232.0.0.0/8 ff08::/64")}, []string{"multicast", "multicast"}},
		{"reserved", ipam.Config{Prefixes: prefixes("255.0.0.0/8")}, []string{"reserved addresses"}},
		{"unspecified", ipam.Config{Prefixes: prefixes("::/64")}, []string{"the unspecified address"}},
		{"twice", ipam.Config{Prefixes: prefixes("10.0.0.0/24 10.0.0.0/24")}, []string{"Prefixes[1]: 10.0.0.0/24 overlaps Prefixes[0], 10.0.0.0/24"}},
		{"inside", ipam.Config{Prefixes: prefixes("10.0.0.0/24 10.0.0.8/30")}, []string{"Prefixes[1]: 10.0.0.8/30 overlaps Prefixes[0], 10.0.0.0/24"}},
		{"around", ipam.Config{Prefixes: prefixes("fd00::/64 fd00::/48")}, []string{"Prefixes[1]: fd00::/48 overlaps Prefixes[0], fd00::/64"}},
		{"only the gateway", ipam.Config{Prefixes: prefixes("10.0.0.0/32 fd00::/128")}, []string{
			"IPv4 [10.0.0.0/32] are too small", "IPv6 [fd00::/128] are too small",
		}},
		{"all excluded", ipam.Config{Prefixes: prefixes("10.0.0.0/30"), Excluded: prefixes("10.0.0.2/32")}, []string{"are too small"}},
		{"excluded outside", ipam.Config{Excluded: prefixes("11.0.0.0/24")}, []string{"Excluded[0]: 11.0.0.0/24 is not inside"}},
		{"excluded around", ipam.Config{Excluded: prefixes("10.0.0.0/24 10.0.0.0/7")}, []string{"Excluded[1]: 10.0.0.0/7 is not inside"}},
		{
			"excluded across", ipam.Config{Prefixes: prefixes("10.0.0.0/25 10.0.0.128/25"), Excluded: prefixes("10.0.0.0/24")},
			[]string{"Excluded[0]: 10.0.0.0/24 is not inside any one of"},
		},
		{"excluded host bits", ipam.Config{Excluded: prefixes("10.0.0.9/24")}, []string{"Excluded[0]: 10.0.0.9/24 has host bits set"}},
		{"excluded zero", ipam.Config{Excluded: []netip.Prefix{{}}}, []string{"Excluded[0]: invalid Prefix"}},
		{"excluded mapped", ipam.Config{Excluded: prefixes("::ffff:10.0.0.9/128")}, []string{"write 10.0.0.9/32"}},
		{"negative quarantine", ipam.Config{Quarantine: -time.Second}, []string{"Quarantine: -1s is negative"}},
		{"long quarantine", ipam.Config{Quarantine: ipam.MaxQuarantine + 1}, []string{"is too long; it may be at most 720h"}},
		{"too many", ipam.Config{Prefixes: manyPrefixes(257)}, []string{"IPv6 [fd00::/64 fd00:0:0:1::/64 fd00:0:0:2::/64] and 254 more are too many"}},
		{"all at once", ipam.Config{
			Prefixes:   prefixes("10.0.0.1/24 127.0.0.0/8 fd00::/128"),
			Excluded:   prefixes("10.0.0.7/32 12.0.0.0/8"),
			Quarantine: -2,
		}, []string{"Prefixes[0]", "Prefixes[1]", "fd00::/128", "Excluded[1]", "Quarantine"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			pool, err := ipam.New(tt.cfg)
			require.Nil(t, pool)
			require.ErrorIs(t, err, ipam.ErrConfig)
			var one *ipam.ConfigError
			require.ErrorAs(t, err, &one)
			require.Len(t, strings.Split(err.Error(), "\n"), len(tt.problems), "%v", err)
			for _, p := range tt.problems {
				require.ErrorContains(t, err, p)
			}
		})
	}
}

func manyPrefixes(n int) []netip.Prefix {
	var list []netip.Prefix
	for i := range n {
		list = append(list, netip.PrefixFrom(netip.AddrFrom16([16]byte{0: 0xfd, 6: byte(i >> 8), 7: byte(i)}), 64))
	}
	return list
}

// TestManyPrefixes has as many windows as slots can number.
func TestManyPrefixes(t *testing.T) {
	list := manyPrefixes(256)
	pool, err := ipam.New(ipam.Config{Prefixes: list})
	require.NoError(t, err)
	last := netip.MustParseAddr("fd00:0:0:ff::ff:ffff") // the last of the last window
	require.NoError(t, pool.LeaseAddr(last))
	require.Zero(t, pool.Stats()[0].Outlying)
	require.Equal(t, []netip.Addr{last}, slices.Collect(pool.Leases()))
	require.NoError(t, pool.LeaseAddr(last.Next()))
	require.EqualValues(t, 1, pool.Stats()[0].Outlying)
}

func TestBadAddress(t *testing.T) {
	pool, err := ipam.New(ipam.Config{Prefixes: prefixes("10.0.0.0/24 10.0.2.0/24 fd00::/64"), Excluded: prefixes("10.0.0.9/32 fd00::1:0:0:0/80")})
	require.NoError(t, err)
	for _, tt := range []struct {
		addr, text string
		want       error
	}{
		{"10.0.1.0", "address is not in the pool", ipam.ErrNotInPool},
		{"::ffff:10.0.0.2", "unmap it first", ipam.ErrNotInPool},
		{"fd00::2%eth0", "it has a zone", ipam.ErrNotInPool},
		{"10.0.0.0", "it is the network address of 10.0.0.0/24", ipam.ErrReserved},
		{"10.0.2.0", "it is the network address of 10.0.2.0/24", ipam.ErrReserved},
		{"10.0.0.1", "it is the node's own", ipam.ErrReserved},
		{"10.0.0.255", "it is the broadcast address of 10.0.0.0/24", ipam.ErrReserved},
		{"10.0.0.9", "the configuration excludes it", ipam.ErrReserved},
		{"fd00::", "it is the Subnet-Router anycast address of fd00::/64", ipam.ErrReserved},
		{"fd00::1", "it is the node's own", ipam.ErrReserved},
		{"fd00::1:0:0:7", "the configuration excludes it", ipam.ErrReserved},
	} {
		a := netip.MustParseAddr(tt.addr)
		err := pool.LeaseAddr(a)
		require.ErrorIs(t, err, tt.want, tt.addr)
		require.ErrorContains(t, err, "ipam: lease "+tt.addr+": ")
		require.ErrorContains(t, err, tt.text)
		var detail *ipam.AddrError
		require.ErrorAs(t, err, &detail)
		require.Equal(t, a, detail.Addr)
		require.Error(t, pool.Release(a))
		require.Error(t, pool.Discard(a))
		require.False(t, pool.Leased(a))
	}
	require.ErrorIs(t, pool.LeaseAddr(netip.Addr{}), ipam.ErrNotInPool)
	require.False(t, pool.Leased(netip.Addr{}))
	// The first host of a further prefix is like any other.
	require.NoError(t, pool.LeaseAddr(netip.MustParseAddr("10.0.2.1")))
}

func TestNoFamily(t *testing.T) {
	pool, err := ipam.New(ipam.Config{Prefixes: prefixes("fd00::/64")})
	require.NoError(t, err)
	require.Equal(t, []ipam.Family{ipam.IPv6}, pool.Families())
	for _, f := range []ipam.Family{ipam.IPv4, 0, 5} {
		_, err = pool.Lease(f)
		require.ErrorIs(t, err, ipam.ErrFamily)
		_, err = pool.LeaseFor(f, []byte("key"))
		require.ErrorIs(t, err, ipam.ErrFamily)
		_, ok := pool.Gateway(f)
		require.False(t, ok)
	}
	_, err = pool.LeaseFor(ipam.IPv6, nil)
	require.ErrorIs(t, err, ipam.ErrEmptyKey)
	require.Equal(t, "IPv4 IPv6 unknown family", strings.Join([]string{ipam.IPv4.String(), ipam.IPv6.String(), ipam.Family(0).String()}, " "))
}

// TestLeaseForStable pins the addresses of keys, which must not change between releases.
func TestLeaseForStable(t *testing.T) {
	pool, err := ipam.New(ipam.Config{})
	require.NoError(t, err)
	for key, want := range map[string][2]string{
		"alice": {"10.43.216.8", "fd77:6179:6c75:6d65::2b:d808"},
		"bob":   {"10.129.182.56", "fd77:6179:6c75:6d65::81:b638"},
	} {
		for i, f := range pool.Families() {
			got, err := pool.LeaseFor(f, []byte(key))
			require.NoError(t, err)
			require.Equal(t, want[i], got.String())
			require.NoError(t, pool.Discard(got))
			again, err := pool.LeaseFor(f, []byte(key))
			require.NoError(t, err)
			require.Equal(t, got, again)
			next, err := pool.LeaseFor(f, []byte(key))
			require.NoError(t, err)
			require.Equal(t, got.Next(), next)
		}
	}
}
