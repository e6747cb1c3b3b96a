package ipam_test

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/waylume/waylume/ipam"
)

// wallClock is a clock that a test sets.
type wallClock struct{ now time.Time }

func newWallClock() *wallClock {
	return &wallClock{time.Date(2031, 5, 6, 7, 8, 9, 123456789, time.UTC)}
}

func (c *wallClock) Now() time.Time { return c.now }

// configs draws pools of some small prefixes of both families, and sometimes a /64.
func configs(clock *wallClock) *rapid.Generator[ipam.Config] {
	return rapid.Custom(func(t *rapid.T) ipam.Config {
		cfg := ipam.Config{Now: clock.Now}
		// The order of the prefixes is not that of their addresses.
		for i, n := range []byte{7, 3, 9, 5}[:rapid.IntRange(1, 4).Draw(t, "prefixes")] {
			kind := rapid.IntRange(0, 9).Draw(t, "kind")
			switch large := kind == 9 && !slices.ContainsFunc(cfg.Prefixes, func(p netip.Prefix) bool { return p.Addr().Is6() }); {
			case large:
				cfg.Prefixes = append(cfg.Prefixes, netip.PrefixFrom(netip.AddrFrom16([16]byte{0xfd, 7, n}), 64))
				cfg.Excluded = append(cfg.Excluded, netip.PrefixFrom(netip.AddrFrom16([16]byte{0xfd, 7, n, 8: 1}), 72))
				return cfg // and no other, so that the model need not count 2^24 addresses
			case kind < 5:
				base := netip.AddrFrom4([4]byte{10, n, 0, byte(i) << 6})
				cfg.Prefixes = append(cfg.Prefixes, netip.PrefixFrom(base, rapid.IntRange(27, 32).Draw(t, "bits")))
			default:
				base := netip.AddrFrom16([16]byte{0xfd, n})
				cfg.Prefixes = append(cfg.Prefixes, netip.PrefixFrom(base, rapid.IntRange(123, 128).Draw(t, "bits")))
			}
		}
		for range rapid.IntRange(0, 2).Draw(t, "exclusions") {
			p := rapid.SampledFrom(cfg.Prefixes).Draw(t, "excluded from")
			bits := min(p.Bits()+rapid.IntRange(1, 4).Draw(t, "longer"), p.Addr().BitLen())
			e, err := skip(p.Addr(), rapid.IntRange(0, 31).Draw(t, "at")).Prefix(bits)
			if err == nil && p.Contains(e.Addr()) {
				cfg.Excluded = append(cfg.Excluded, e)
			}
		}
		cfg.Quarantine = rapid.SampledFrom([]time.Duration{ipam.NoQuarantine, 1, 77, time.Second, 5 * time.Minute}).Draw(t, "quarantine")
		return cfg
	})
}

func skip(a netip.Addr, n int) netip.Addr {
	for range n {
		a = a.Next()
	}
	return a
}

// TestPoolModel holds a pool to the model through random calls.
func TestPoolModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		clock := newWallClock()
		cfg := configs(clock).Draw(t, "config")
		if cfg.Quarantine == 0 {
			cfg.Quarantine = ipam.DefaultQuarantine
		}
		m := newModel(cfg, clock.now)
		pool, err := ipam.New(cfg)
		for _, b := range m.books {
			if b.capacity() == 0 {
				require.ErrorIs(t, err, ipam.ErrConfig)
				return
			}
		}
		require.NoError(t, err)
		(&machine{clock: clock, cfg: cfg, pool: pool, model: m}).run(t)
	})
}

type machine struct {
	clock *wallClock
	cfg   ipam.Config
	pool  *ipam.Pool
	model *model
	kept  []keptSnapshot
}

type keptSnapshot struct {
	real  ipam.Snapshot
	model saved
}

func (m *machine) run(t *rapid.T) {
	families := rapid.SampledFrom([]ipam.Family{ipam.IPv4, ipam.IPv6})
	keys := rapid.SampledFrom([]string{"a", "b", "c", "d", "a longer key"})
	var near []netip.Addr
	for _, p := range m.cfg.Prefixes {
		for i := range 33 {
			near = append(near, skip(p.Addr(), i))
		}
		near = append(near, p.Addr().Prev(), netip.AddrFrom16(p.Addr().As16()))
		if p.Bits() == 64 {
			b := p.Addr().As16()
			for _, i := range []int{8, 9, 10, 12} { // 8 makes an excluded address; all are outlying
				c := b
				c[i] = 1
				near = append(near, netip.AddrFrom16(c))
			}
		}
	}
	addrs := rapid.SampledFrom(near)
	held := rapid.Custom(func(t *rapid.T) netip.Addr {
		if list := m.model.leases(); len(list) > 0 && rapid.IntRange(0, 4).Draw(t, "held") > 0 {
			return rapid.SampledFrom(list).Draw(t, "lease")
		}
		return addrs.Draw(t, "address")
	})
	t.Repeat(map[string]func(*rapid.T){
		"Lease":  func(t *rapid.T) { m.lease(t, families.Draw(t, "family")) },
		"Lease2": func(t *rapid.T) { m.lease(t, families.Draw(t, "family")) }, // else pools seldom fill
		"LeaseFor": func(t *rapid.T) {
			f, key := families.Draw(t, "family"), []byte(keys.Draw(t, "key"))
			m.model.tick(m.clock.now)
			want, wantErr := m.model.leaseFor(f, key)
			got, err := m.pool.LeaseFor(f, key)
			require.NoError(t, same(wantErr, err))
			require.Equal(t, want, got)
		},
		"LeaseAddr": func(t *rapid.T) {
			a := addrs.Draw(t, "address")
			m.model.tick(m.clock.now)
			require.NoError(t, same(m.model.leaseAddr(a), m.pool.LeaseAddr(a)))
		},
		"Release": func(t *rapid.T) {
			a := held.Draw(t, "address")
			m.model.tick(m.clock.now)
			require.NoError(t, same(m.model.release(a), m.pool.Release(a)))
			require.False(t, m.pool.Leased(a))
		},
		"Discard": func(t *rapid.T) {
			a := held.Draw(t, "address")
			m.model.tick(m.clock.now)
			require.NoError(t, same(m.model.discard(a), m.pool.Discard(a)))
		},
		"clock": func(t *rapid.T) {
			q := max(m.cfg.Quarantine, 1)
			d := rapid.OneOf(rapid.Just(q), rapid.Just(q+q/256), rapid.Just(-q/2),
				rapid.Map(rapid.Int64Range(-10, 200), func(p int64) time.Duration { return q / 100 * time.Duration(p) }))
			m.clock.now = m.clock.now.Add(d.Draw(t, "forward"))
		},
		"Snapshot": func(t *rapid.T) {
			m.model.tick(m.clock.now)
			s, err := carry(m.pool.Snapshot())
			require.NoError(t, err)
			m.kept = append(m.kept, keptSnapshot{s, m.model.snapshot(m.clock.now)})
		},
		"Restore": func(t *rapid.T) {
			if len(m.kept) == 0 {
				t.Skip("no snapshot")
			}
			m.restore(t, rapid.SampledFrom(m.kept).Draw(t, "snapshot"), rapid.Bool().Draw(t, "restart"))
		},
		"": func(t *rapid.T) { require.NoError(t, m.model.compare(m.pool)) },
	})
}

func (m *machine) lease(t *rapid.T, f ipam.Family) {
	m.model.tick(m.clock.now)
	want, wantErr := m.model.lease(f)
	got, err := m.pool.Lease(f)
	require.NoError(t, same(wantErr, err))
	require.Equal(t, want, got)
}

// restore goes back to a snapshot, in a new pool if restart.
func (m *machine) restore(t *rapid.T, s keptSnapshot, restart bool) {
	if restart {
		pool, err := ipam.New(m.cfg)
		require.NoError(t, err)
		m.pool = pool
		m.model.start, m.model.elapsed = m.clock.now, 0
	}
	m.model.tick(m.clock.now)
	m.model.restore(s.model, m.clock.now)
	require.NoError(t, m.pool.Restore(s.real))
}
