package ipam_test

import (
	"encoding/base64"
	"encoding/json"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/ipam"
)

// lived returns a pool with something of all that a snapshot has.
func lived(t testing.TB, clock *wallClock) (*ipam.Pool, ipam.Config) {
	cfg := ipam.Config{
		Prefixes: prefixes("10.0.0.0/24 fd00::/64 10.9.0.0/30"), Excluded: prefixes("10.0.0.128/25"),
		Quarantine: time.Minute, Now: clock.Now,
	}
	pool := must(ipam.New(cfg))
	for range 126 + 2 {
		_, err := pool.Lease(ipam.IPv4)
		require.NoError(t, err)
	}
	for _, text := range []string{"10.0.0.7", "10.0.0.8", "10.0.0.3"} {
		require.NoError(t, pool.Release(netip.MustParseAddr(text)))
	}
	clock.now = clock.now.Add(61 * time.Second)
	for _, text := range []string{"fd00::7:7:7:7", "fd00::", "fd00::77", "fd00::8:8:8:8"} {
		if err := pool.LeaseAddr(netip.MustParseAddr(text)); text != "fd00::" {
			require.NoError(t, err)
		}
	}
	for _, text := range []string{"10.0.0.20", "10.0.0.100", "fd00::77", "fd00::8:8:8:8"} {
		require.NoError(t, pool.Release(netip.MustParseAddr(text)))
		clock.now = clock.now.Add(7 * time.Second)
	}
	return pool, cfg
}

// golden is the snapshot of lived in version 1: one that a release has written must be read by those that follow.
const golden = `V0xJUAHk8JG2DpWa7zoDBAoAAAAYEP0AAAAAAAAAAAAAAAAAAABABAoJAAAeFwIAAQICCgFOARoHAQEACwMAAwEAAri13+x3BxQAAIjuwIWSAQdk` +
	`AAAAAAAAAYCYwa6rAQd3AAAB/QAAAAAAAAAABwAHAAcABwHQ0KLHxQH9AAAAAAAAAAAIAAgACAAI3WZo1g==`

func TestSnapshotGolden(t *testing.T) {
	clock := newWallClock()
	pool, cfg := lived(t, clock)
	require.Equal(t, golden, string(must(pool.Snapshot().MarshalText())))
	var old ipam.Snapshot
	require.NoError(t, old.UnmarshalText([]byte(golden)))
	restored := must(ipam.New(cfg))
	require.NoError(t, restored.Restore(old))
	require.Equal(t, pool.Stats(), restored.Stats())
	require.Equal(t, slices.Collect(pool.Leases()), slices.Collect(restored.Leases()))
	require.Equal(t, pool.Snapshot(), restored.Snapshot())
}

func TestSnapshotForms(t *testing.T) {
	pool, _ := lived(t, newWallClock())
	s := pool.Snapshot()
	require.False(t, s.IsZero())
	var fromBinary, fromText ipam.Snapshot
	data := must(s.MarshalBinary())
	require.NoError(t, fromBinary.UnmarshalBinary(data))
	require.NoError(t, fromText.UnmarshalText(must(s.MarshalText())))
	require.Equal(t, s, fromBinary)
	require.Equal(t, s, fromText)
	clear(data) // which the snapshots do not share
	require.NoError(t, pool.Restore(s))
	require.NoError(t, pool.Restore(fromBinary))

	type state struct {
		Pool ipam.Snapshot `json:"pool,omitzero"`
	}
	text := must(json.Marshal(state{Pool: s}))
	var back state
	require.NoError(t, json.Unmarshal(text, &back))
	require.Equal(t, s, back.Pool)
	require.Equal(t, "{}", string(must(json.Marshal(state{}))))

	var zero ipam.Snapshot
	require.True(t, zero.IsZero())
	require.NoError(t, zero.UnmarshalBinary(must(zero.MarshalBinary())))
	require.ErrorIs(t, pool.Restore(zero), ipam.ErrSnapshotCorrupt)
	require.ErrorContains(t, pool.Restore(zero), "it is empty")
}

// TestSnapshotDamage: whichever bit is turned, and wherever it is cut, a snapshot is refused.
func TestSnapshotDamage(t *testing.T) {
	pool, _ := lived(t, newWallClock())
	data := must(pool.Snapshot().MarshalBinary())
	var s ipam.Snapshot
	for i := range len(data) * 8 {
		bad := slices.Clone(data)
		bad[i/8] ^= 1 << (i % 8)
		err := s.UnmarshalBinary(bad)
		if i/8 == 4 { // the version
			require.ErrorIs(t, err, ipam.ErrSnapshotForeign)
		} else {
			require.ErrorIs(t, err, ipam.ErrSnapshotCorrupt)
		}
	}
	for n := 1; n < len(data); n++ {
		require.ErrorIs(t, s.UnmarshalBinary(data[:n]), ipam.ErrSnapshotCorrupt)
	}
	require.ErrorIs(t, s.UnmarshalBinary(append(data, 0)), ipam.ErrSnapshotCorrupt)
	require.ErrorIs(t, s.UnmarshalText([]byte("not base64!")), ipam.ErrSnapshotCorrupt)
	require.True(t, s.IsZero())
}

// TestSnapshotBody has sound envelopes around bodies that are not.
func TestSnapshotBody(t *testing.T) {
	clock := newWallClock()
	pool := must(ipam.New(ipam.Config{Prefixes: prefixes("10.0.0.0/24 fd00::/64"), Excluded: prefixes("10.0.0.64/26 fd00::1:0:0:0/80"), Now: clock.Now}))
	_, err := pool.Lease(ipam.IPv4)
	require.NoError(t, err)
	before := must(pool.Snapshot().MarshalBinary())

	const (
		v4  = "\x01\x04\x0a\x00\x00\x00\x18"                              // one prefix, 10.0.0.0/24
		v6  = "\x01\x10\xfd\x00\x00\x00\x00\x00\x00\x00" + zero8 + "\x40" // one prefix, fd00::/64
		out = "\xfd\x00\x00\x00\x00\x00\x00\x00\x07\x00\x00\x00\x00\x00\x00\x07"
	)
	for _, tt := range []struct {
		name, body string // body without the time
		want       error
		text       string
	}{
		{"nothing", "", ipam.ErrSnapshotCorrupt, "bad count of prefixes"},
		{"empty pool", "\x00", nil, ""},
		{"trailing", "\x00\x00", ipam.ErrSnapshotCorrupt, "bytes after its end"},
		{"prefix cut", "\x01\x04\x0a", ipam.ErrSnapshotCorrupt, "middle of prefix"},
		{"prefix of 5 bytes", "\x01\x05\x0a\x00\x00\x00\x00\x18", ipam.ErrSnapshotCorrupt, "bad prefix"},
		{"prefix of 33 bits", "\x01\x04\x0a\x00\x00\x00\x21", ipam.ErrSnapshotCorrupt, "bad prefix"},
		{"prefix unmasked", "\x01\x04\x0a\x00\x00\x01\x18", ipam.ErrSnapshotCorrupt, "bad prefix"},
		{"prefix twice", "\x02" + v4[1:] + v4[1:], ipam.ErrSnapshotCorrupt, "bad prefix"},
		{"prefix elsewhere", "\x01\x04\x0b\x00\x00\x00\x18", ipam.ErrSnapshotForeign, "11.0.0.0/24, which the pool does not have"},
		{"prefix longer", "\x01\x04\x0a\x00\x00\x00\x19", ipam.ErrSnapshotForeign, "10.0.0.0/25, which the pool does not have"},
		{"no sets", v4, ipam.ErrSnapshotCorrupt, "bad set"},
		{"nothing leased", v4 + "\x00\x00\x00\x00\x00", nil, ""},
		{"run", v4 + "\x07\x02\x01\x00" + "\x00\x00\x00\x00", nil, ""},
		{"run of the network", v4 + "\x07\x00\x01\x00" + "\x00\x00\x00\x00", ipam.ErrSnapshotForeign, "10.0.0.0, which the pool reserves: it is the network"},
		{"run of the gateway", v4 + "\x07\x01\x01\x00" + "\x00\x00\x00\x00", ipam.ErrSnapshotForeign, "it is the node's own"},
		{"run into the exclusion", v4 + "\x07\x02\x3e\x00" + "\x00\x00\x00\x00", ipam.ErrSnapshotForeign, "10.0.0.64, which the pool reserves: the configuration"},
		{"run across the exclusion", v4 + "\x07\x02\xa0\x01\x00" + "\x00\x00\x00\x00", ipam.ErrSnapshotForeign, "10.0.0.64, which the pool reserves: the configuration"},
		{"run beyond the prefix", v4 + "\x07\xfe\x01\x04\x00" + "\x00\x00\x00\x00", ipam.ErrSnapshotForeign, "10.0.0.255"},
		{"run of a page", v4 + "\x07\x02\xff\x1f\x00" + "\x00\x00\x00\x00", ipam.ErrSnapshotCorrupt, "beyond its page"},
		{"page beyond", v4 + "\x04\x07\x02\x01\x00" + "\x00\x00\x00\x00", ipam.ErrSnapshotCorrupt, "beyond its prefixes"},
		{"slots between prefixes", v4 + "\x07\xac\x02\x01\x00" + "\x00\x00\x00\x00", ipam.ErrSnapshotCorrupt, "set goes beyond 10.0.0.0/24"},
		{"later beyond", v4 + "\x00" + "\x05\x00" + "\x00\x00\x00", ipam.ErrSnapshotCorrupt, "set goes beyond 10.0.0.0/24"},
		{"full beyond", v4 + "\x09\x00\x00\x00\x00\x00", ipam.ErrSnapshotCorrupt, "beyond its prefixes"},
		{"raw cut", v4 + "\x06\x00\x00\x00\x00\x00", ipam.ErrSnapshotCorrupt, "middle of page"},
		{"no count", v4 + "\x03\x00\x00\x00\x00\x00", ipam.ErrSnapshotCorrupt, "beyond its prefixes"},
		{"twice, later", v4 + "\x07\x02\x01\x00" + "\x07\x03\x00\x00" + "\x00\x00\x00", ipam.ErrSnapshotCorrupt, "appears twice"},
		{"twice, resting", v4 + "\x07\x02\x01\x00" + "\x00" + "\x01\x09\x07\x03\x00\x00" + "\x00\x00", ipam.ErrSnapshotCorrupt, "appears twice"},
		{"later excluded", v4 + "\x00" + "\x07\x02\x50\x00" + "\x00\x00\x00", nil, ""},
		{"resting excluded", v4 + "\x00\x00" + "\x01\x09\x07\x02\x50\x00" + "\x00\x00", nil, ""},
		{"out of order", v4 + "\x00\x00" + "\x02\x09\x07\x02\x01\x00\x08\x07\x20\x01\x00" + "\x00\x00", ipam.ErrSnapshotCorrupt, "out of order"},
		{"too long", v4 + "\x00\x00" + "\x01\xff\xff\xff\xff\xff\xff\xff\x7f\x07\x02\x01\x00" + "\x00\x00", ipam.ErrSnapshotCorrupt, "bad quarantine"},
		{"outlying IPv4", v4 + "\x00\x00\x00" + "\x01\x0a\x00\x00\x05" + "\x00", ipam.ErrSnapshotCorrupt, "not outlying"},
		{"outlying", v6 + "\x00\x00\x00" + "\x01" + out + "\x00", nil, ""},
		{"outlying elsewhere", v6 + "\x00\x00\x00" + "\x01\xfe" + out[1:] + "\x00", ipam.ErrSnapshotCorrupt, "in none of its prefixes"},
		{"outlying cut", v6 + "\x00\x00\x00" + "\x01" + out[1:], ipam.ErrSnapshotCorrupt, "middle of outlying lease"},
		{"outlying twice", v6 + "\x00\x00\x00" + "\x02" + out + out + "\x00", ipam.ErrSnapshotCorrupt, "appears twice"},
		{"outlying twice, resting", v6 + "\x00\x00\x00" + "\x01" + out + "\x01\x09" + out, ipam.ErrSnapshotCorrupt, "appears twice"},
		{"outlying excluded", v6 + "\x00\x00\x00" + "\x01" + out[:8] + "\x00\x01" + out[10:] + "\x00", ipam.ErrSnapshotForeign, "fd00::1:0:0:7, which the pool reserves"},
		{"outlying resting, excluded", v6 + "\x00\x00\x00\x00" + "\x01\x09" + out[:8] + "\x00\x01" + out[10:], nil, ""},
		{"outlying too many", v6 + "\x00\x00\x00" + "\x81\x80\x10" + out, ipam.ErrSnapshotCorrupt, "bad count of outlying leases"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var s ipam.Snapshot
			require.NoError(t, s.UnmarshalBinary(ipam.Seal([]byte("\x00\x00"+tt.body))))
			err := pool.Restore(s)
			require.NoError(t, pool.Check())
			if tt.want == nil {
				require.NoError(t, err)
				require.NoError(t, s.UnmarshalBinary(before))
				require.NoError(t, pool.Restore(s))
			} else {
				require.ErrorIs(t, err, tt.want)
				require.ErrorContains(t, err, "ipam: restore: ")
				require.ErrorContains(t, err, tt.text)
			}
			require.Equal(t, before, must(pool.Snapshot().MarshalBinary()), "the pool is as it was")
		})
	}
	var s ipam.Snapshot
	require.NoError(t, s.UnmarshalBinary(ipam.Seal(nil)))
	require.ErrorContains(t, pool.Restore(s), "bad time")
}

const zero8 = "\x00\x00\x00\x00\x00\x00\x00\x00"

// TestRestoreElsewhere takes a snapshot to a pool with prefixes in another order and more of them, and another exclusion.
func TestRestoreElsewhere(t *testing.T) {
	clock := newWallClock()
	pool, cfg := lived(t, clock)
	s := pool.Snapshot()
	cfg.Prefixes = prefixes("10.0.0.0/24 10.8.0.0/29 10.9.0.0/30 fd01::/64 fd00::/64")
	cfg.Excluded = prefixes("10.0.0.200/32 10.8.0.0/31 10.0.0.20/32")
	grown := must(ipam.New(cfg))
	require.NoError(t, grown.Restore(s))
	require.NoError(t, grown.Check())
	inOrder := slices.SortedFunc(pool.Leases(), netip.Addr.Compare)
	require.Equal(t, inOrder, slices.SortedFunc(grown.Leases(), netip.Addr.Compare))
	require.ErrorIs(t, grown.LeaseAddr(netip.MustParseAddr("10.0.0.100")), ipam.ErrQuarantined)
	require.ErrorIs(t, grown.LeaseAddr(netip.MustParseAddr("10.0.0.20")), ipam.ErrReserved)
	require.NoError(t, grown.LeaseAddr(netip.MustParseAddr("10.0.0.201")))

	cfg.Prefixes = prefixes("10.9.0.0/30 10.0.0.0/24 fd00::/64")
	cfg.Excluded = nil
	err := must(ipam.New(cfg)).Restore(s)
	require.ErrorIs(t, err, ipam.ErrSnapshotForeign)
	require.ErrorContains(t, err, "lease of 10.9.0.1, which the pool reserves: it is the node's own")

	cfg.Prefixes = cfg.Prefixes[:2]
	require.ErrorContains(t, must(ipam.New(cfg)).Restore(s), "fd00::/64, which the pool does not have")
}

// TestRestoreQuarantine: a quarantine goes on through a restart, counts the time in between, and never outlasts the new
// pool's own.
func TestRestoreQuarantine(t *testing.T) {
	const addr = "10.0.0.2"
	for _, tt := range []struct {
		name             string
		away, quarantine time.Duration
		left             time.Duration
	}{
		{"at once", 0, time.Minute, 50 * time.Second},
		{"after a while", 30 * time.Second, time.Minute, 20 * time.Second},
		{"after all of it", time.Hour, time.Minute, 0},
		{"clock set back", -time.Hour, time.Minute, 50 * time.Second},
		{"shorter now", 0, 20 * time.Second, 20*time.Second + 20*time.Second/256},
		{"longer now", 0, time.Hour, 50 * time.Second},
		{"none now", 0, ipam.NoQuarantine, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			clock := newWallClock()
			cfg := ipam.Config{Prefixes: prefixes("10.0.0.0/24"), Quarantine: time.Minute, Now: clock.Now}
			pool := must(ipam.New(cfg))
			a := must(pool.Lease(ipam.IPv4))
			require.Equal(t, addr, a.String())
			require.NoError(t, pool.Release(a))
			clock.now = clock.now.Add(10 * time.Second)
			s := pool.Snapshot()

			clock.now = clock.now.Add(tt.away)
			cfg.Quarantine = tt.quarantine
			pool = must(ipam.New(cfg))
			require.NoError(t, pool.Restore(s))
			if tt.left > 0 {
				var detail *ipam.AddrError
				require.ErrorAs(t, pool.LeaseAddr(a), &detail)
				require.ErrorIs(t, detail, ipam.ErrQuarantined)
				require.Equal(t, tt.left, detail.Until.Sub(clock.now))
				clock.now = clock.now.Add(tt.left - 1)
				require.ErrorIs(t, pool.LeaseAddr(a), ipam.ErrQuarantined)
				clock.now = clock.now.Add(1)
			}
			require.NoError(t, pool.LeaseAddr(a))
		})
	}
}

// TestSnapshotScattered has pages that are shorter raw than as runs.
func TestSnapshotScattered(t *testing.T) {
	cfg := ipam.Config{Prefixes: prefixes("10.0.0.0/18"), Quarantine: time.Minute, Now: newWallClock().Now}
	pool := must(ipam.New(cfg))
	for n := uint32(2); n < 1<<14-1; n += 3 {
		require.NoError(t, pool.LeaseAddr(v4(n)))
		if n%2 == 0 {
			require.NoError(t, pool.Release(v4(n)))
		}
	}
	s := pool.Snapshot()
	require.Less(t, len(must(s.MarshalBinary())), 2*(1<<14)/8+100)
	restored := must(ipam.New(cfg))
	require.NoError(t, restored.Restore(s))
	require.NoError(t, restored.Check())
	require.Equal(t, s, restored.Snapshot())
	require.Equal(t, slices.Collect(pool.Leases()), slices.Collect(restored.Leases()))
}

func FuzzUnmarshal(f *testing.F) {
	pool, _ := lived(f, newWallClock())
	f.Add(must(pool.Snapshot().MarshalBinary()))
	f.Add([]byte("WLIP"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		var s, text ipam.Snapshot
		err := s.UnmarshalBinary(data)
		require.Equal(t, err, text.UnmarshalText([]byte(base64.StdEncoding.EncodeToString(data))))
		require.Equal(t, s, text)
		if err == nil {
			require.Equal(t, string(data), string(must(s.MarshalBinary())))
		}
		_ = text.UnmarshalText(data)
	})
}

// FuzzRestore gives Restore any body in a sound envelope. What is accepted must be a pool that works and makes an equal
// snapshot, and what is not must leave the pool alone.
func FuzzRestore(f *testing.F) {
	clock := newWallClock()
	pool, cfg := lived(f, clock)
	good := must(pool.Snapshot().MarshalBinary())
	// A few bytes can lease all of a window, which would take long to look at: leave 2^12 addresses of it.
	for at := 12; at < 24; at++ {
		e := cfg.Prefixes[1].Addr().As16()
		e[15-at/8] = 1 << (at % 8)
		cfg.Excluded = append(cfg.Excluded, netip.PrefixFrom(netip.AddrFrom16(e), 128-at))
	}
	f.Add(ipam.Body(good))
	f.Add(ipam.Body(must(must(ipam.New(cfg)).Snapshot().MarshalBinary())))
	f.Add([]byte("\x00\x00\x01\x04\x0a\x00\x00\x00\x18\x07\x02\x01\x00\x00\x01\x09\x07\x05\x01\x00\x00\x00"))
	f.Add([]byte("\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, body []byte) {
		clock := &wallClock{clock.now}
		cfg := cfg
		cfg.Now = clock.Now
		pool := must(ipam.New(cfg))
		var before, s ipam.Snapshot
		require.NoError(t, before.UnmarshalBinary(good))
		require.NoError(t, pool.Restore(before))
		require.NoError(t, s.UnmarshalBinary(ipam.Seal(body)))
		if err := pool.Restore(s); err != nil {
			require.Equal(t, before, pool.Snapshot())
			return
		}
		require.NoError(t, pool.Check())
		again := must(ipam.New(cfg))
		require.NoError(t, again.Restore(pool.Snapshot()))
		require.Equal(t, pool.Snapshot(), again.Snapshot())
		for a := range pool.Leases() {
			if err := pool.Release(a); err != nil {
				t.Fatal(err)
			}
		}
		clock.now = clock.now.Add(time.Hour)
		for _, s := range pool.Stats() {
			require.Equal(t, s.Capacity, s.Free)
		}
	})
}
