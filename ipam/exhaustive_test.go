package ipam_test

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/ipam"
)

// step is one call in TestPoolExhaustive.
type step struct {
	name string
	do   func(*machine) error
}

func (s step) String() string { return s.name }

// TestPoolExhaustive makes every call in every state that a small pool can come to.
func TestPoolExhaustive(t *testing.T) {
	for _, tt := range []struct {
		prefixes, excluded string
		leasable           int
	}{
		{"10.0.0.0/32 10.0.1.0/30", "", 2},
		{"10.0.0.6/31 10.0.0.4/31", "", 3},
		{"10.0.0.0/29", "10.0.0.4/31", 3},
		{"fd00::/125 10.0.0.0/30", "fd00::4/126", 2},
		{"fd00::2/127 fd00::/127 fd00::7/128", "", 4},
	} {
		t.Run(tt.prefixes, func(t *testing.T) {
			clock := newWallClock()
			start := clock.now
			// Waits are multiples of the grain, or there would be no end of states.
			cfg := ipam.Config{Quarantine: 64 * time.Second, Now: clock.Now, Prefixes: prefixes(tt.prefixes), Excluded: prefixes(tt.excluded)}
			steps := allSteps(cfg)
			leasable := newModel(cfg, start).books[family(cfg.Prefixes[0].Addr())].leasable
			require.Len(t, leasable, tt.leasable)
			// seen has every state found, and todo a way to each whose next states are yet to be found.
			seen, todo := make(map[string]bool), [][]step{nil}
			for len(todo) > 0 {
				way := todo[0]
				todo = todo[1:]
				for _, next := range steps {
					clock.now = start
					sequence := append(slices.Clone(way), next)
					m, err := play(clock, cfg, sequence)
					require.NoError(t, err, "after %v", sequence)
					if state := m.model.state(); !seen[state] {
						seen[state] = true
						todo = append(todo, sequence)
					}
				}
			}
			// Each address is ready, later, leased, or rests for 64 s or 24 s more.
			require.Len(t, seen, int(math.Pow(5, float64(tt.leasable))))
		})
	}
}

func prefixes(list string) []netip.Prefix {
	var out []netip.Prefix
	for s := range strings.FieldsSeq(list) {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

// play makes the calls on a new pool and model and returns where they differ.
func play(clock *wallClock, cfg ipam.Config, sequence []step) (*machine, error) {
	m := &machine{clock: clock, cfg: cfg, model: newModel(cfg, clock.now)}
	var err error
	if m.pool, err = ipam.New(cfg); err != nil {
		return nil, err
	}
	for _, s := range sequence {
		m.model.tick(clock.now)
		err = errors.Join(err, s.do(m))
	}
	return m, errors.Join(err, m.model.compare(m.pool))
}

// state says all that matters for what comes next.
func (m *model) state() string {
	var text strings.Builder
	for _, f := range []ipam.Family{ipam.IPv4, ipam.IPv6} {
		if b := m.books[f]; b != nil {
			remaining := make(map[netip.Addr]time.Duration)
			for a, until := range b.resting {
				remaining[a] = until - m.elapsed
			}
			fmt.Fprint(&text, f, b.leased, b.later, remaining)
		}
	}
	return text.String()
}

func allSteps(cfg ipam.Config) []step {
	f := family(cfg.Prefixes[0].Addr())
	take := func(want, got netip.Addr, wantErr, err error) error {
		if want != got {
			return fmt.Errorf("leased %s, not %s", got, want)
		}
		return same(wantErr, err)
	}
	steps := []step{
		{"Lease", func(m *machine) error {
			want, wantErr := m.model.lease(f)
			got, err := m.pool.Lease(f)
			return take(want, got, wantErr, err)
		}},
		{"LeaseFor", func(m *machine) error {
			want, wantErr := m.model.leaseFor(f, []byte("key"))
			got, err := m.pool.LeaseFor(f, []byte("key"))
			return take(want, got, wantErr, err)
		}},
		{"wait", func(m *machine) error {
			m.clock.now = m.clock.now.Add(40 * time.Second)
			return nil
		}},
		{"restart", func(m *machine) error {
			m.model.tick(m.clock.now)
			s, kept := m.pool.Snapshot(), m.model.snapshot(m.clock.now)
			m.pool, _ = ipam.New(m.cfg)
			m.model.start, m.model.elapsed = m.clock.now, 0
			m.model.restore(kept, m.clock.now)
			return m.pool.Restore(s)
		}},
	}
	for _, a := range newModel(cfg, time.Time{}).books[f].leasable {
		steps = append(steps,
			step{"LeaseAddr " + a.String(), func(m *machine) error { return same(m.model.leaseAddr(a), m.pool.LeaseAddr(a)) }},
			step{"Release " + a.String(), func(m *machine) error { return same(m.model.release(a), m.pool.Release(a)) }},
			step{"Discard " + a.String(), func(m *machine) error { return same(m.model.discard(a), m.pool.Discard(a)) }})
	}
	return steps
}
