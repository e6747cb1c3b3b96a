package geo_test

import (
	"errors"
	"net/netip"
	"os"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/waylume/waylume/registry"
	"github.com/waylume/waylume/registry/geo"
)

func isAny(err error, targets ...error) bool {
	return slices.ContainsFunc(targets, func(target error) bool { return errors.Is(err, target) })
}

func TestMerge(t *testing.T) {
	changed := func(change func(*registry.Location)) registry.Location {
		l := frankfurt()
		change(&l)
		return l
	}
	here := &registry.Position{Latitude: 1, Longitude: 2}
	for name, c := range map[string]struct{ configured, found, want registry.Location }{
		"nothing":          {},
		"database alone":   {found: frankfurt(), want: frankfurt()},
		"configured alone": {configured: frankfurt(), want: frankfurt()},
		"operator's region": {
			registry.Location{Region: "eu-central"}, frankfurt(),
			changed(func(l *registry.Location) { l.Region = "eu-central" }),
		},
		"operator's city": {
			registry.Location{City: "Frankfurt"}, frankfurt(),
			changed(func(l *registry.Location) { l.City = "Frankfurt" }),
		},
		"operator's place": {
			registry.Location{Position: here}, frankfurt(),
			changed(func(l *registry.Location) { l.Position = here }),
		},
		"same country":    {registry.Location{Country: "DE"}, frankfurt(), frankfurt()},
		"another country": {registry.Location{Country: "NL"}, frankfurt(), registry.Location{Country: "NL"}},
		"database knows not": {
			registry.Location{Country: "NL"}, registry.Location{City: "Utrecht"}, registry.Location{Country: "NL", City: "Utrecht"},
		},
	} {
		got := geo.Merge(c.configured, c.found)
		require.Equal(t, c.want, got, name)
		if got.Position != nil {
			require.NotSame(t, got.Position, c.configured.Position, name)
			require.NotSame(t, got.Position, c.found.Position, name)
		}
	}
}

// What is configured is never changed, and nothing is made up.
func TestMergeFieldByField(t *testing.T) {
	word := rapid.SampledFrom([]string{"", "DE", "NL"})
	locations := rapid.Custom(func(t *rapid.T) registry.Location {
		l := registry.Location{Region: word.Draw(t, "region"), Country: word.Draw(t, "country"), City: word.Draw(t, "city")}
		if rapid.Bool().Draw(t, "known") {
			l.Position = &registry.Position{Latitude: rapid.Float64Range(-90, 90).Draw(t, "latitude")}
		}
		return l
	})
	rapid.Check(t, func(t *rapid.T) {
		configured, found := locations.Draw(t, "configured"), locations.Draw(t, "found")
		got := geo.Merge(configured, found)
		if configured.Country != "" && found.Country != "" && configured.Country != found.Country {
			require.Equal(t, configured, got)
			return
		}
		for _, f := range []func(registry.Location) any{
			func(l registry.Location) any { return l.Region }, func(l registry.Location) any { return l.Country },
			func(l registry.Location) any { return l.City }, func(l registry.Location) any { return l.Position },
		} {
			want := f(configured)
			if want == "" || want == (*registry.Position)(nil) {
				want = f(found)
			}
			require.Equal(t, want, f(got))
		}
	})
}

func TestLocate(t *testing.T) {
	path := written(t, build(t, "GeoLite2-City", 6, cities()))
	db := opened(t, path)
	configured := registry.Location{Region: "eu"}
	locate := func(db *geo.Database, public ...netip.Addr) registry.Location {
		l, err := geo.Locate(configured, db, public...)
		require.NoError(t, err)
		return l
	}
	want := frankfurt()
	want.Region = "eu"
	require.Equal(t, want, locate(db, netip.Addr{}, elsewhere(), inFrankfurt(), inHelsinki()), "the first that is known")
	require.Equal(t, configured, locate(db, elsewhere()))
	require.Equal(t, configured, locate(db))
	require.Equal(t, configured, locate(nil, inFrankfurt()))

	require.NoError(t, os.Remove(path))
	l, err := geo.Locate(configured, db, inFrankfurt())
	require.ErrorIs(t, err, geo.ErrFormer)
	require.Equal(t, want, l)
	require.NoError(t, db.Close())
	l, err = geo.Locate(configured, db, inFrankfurt())
	require.ErrorIs(t, err, geo.ErrClosed)
	require.Equal(t, configured, l)
}
