package geo_test

import (
	"bytes"
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/maxmind/mmdbwriter/mmdbtype"
	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/registry"
	"github.com/waylume/waylume/registry/geo"
)

func TestLookup(t *testing.T) {
	db := opened(t, written(t, build(t, "GeoLite2-City", 6, cities())))
	require.Equal(t, geo.Info{Type: "GeoLite2-City", Built: time.Unix(1_700_000_000, 0)}, db.Info())
	for addr, want := range map[string]registry.Location{
		"185.1.2.3": frankfurt(), "::ffff:185.1.2.3": frankfurt(), "2a01:100::1": helsinki(), "2a01:100::1%eth0": helsinki(),
		"185.2.0.1": {}, "2a01:101::1": {}, "10.0.0.1": {}, "127.0.0.1": {}, "::1": {}, "fe80::1": {},
	} {
		l, ok, err := db.Lookup(netip.MustParseAddr(addr))
		require.NoError(t, err, addr)
		require.Equal(t, want, l, addr)
		require.Equal(t, want != registry.Location{}, ok, addr)
	}
	_, _, err := db.Lookup(netip.Addr{})
	require.ErrorIs(t, err, registry.ErrInvalid)
}

func TestIPv4Database(t *testing.T) {
	db := opened(t, written(t, build(t, "DBIP-City-Lite", 4, places{"185.1.0.0/16": cities()["185.1.0.0/16"]})))
	l, ok, err := db.Lookup(inFrankfurt())
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, frankfurt(), l)
	_, ok, err = db.Lookup(inHelsinki())
	require.NoError(t, err)
	require.False(t, ok)
}

// at is a record that has a position alone.
func at(latitude, longitude float64) mmdbtype.Map {
	return mmdbtype.Map{"location": mmdbtype.Map{"latitude": mmdbtype.Float64(latitude), "longitude": mmdbtype.Float64(longitude)}}
}

// What a registry would refuse is left out, and the rest is taken.
func TestPartsOfARecord(t *testing.T) {
	for name, c := range map[string]struct {
		record mmdbtype.Map
		want   registry.Location
	}{
		"country alone": {mmdbtype.Map{"country": names{"iso_code": text("DE")}}, registry.Location{Country: "DE"}},
		"nothing":       {mmdbtype.Map{"traits": names{"x": text("y")}}, registry.Location{}},
		"no country":    {mmdbtype.Map{"subdivisions": mmdbtype.Slice{names{"iso_code": text("HE")}}}, registry.Location{}},
		"no code":       {mmdbtype.Map{"country": names{"iso_code": text("Germany")}}, registry.Location{}},
		"small":         {mmdbtype.Map{"country": names{"iso_code": text("de")}}, registry.Location{}},
		"long city": {
			mmdbtype.Map{"city": names{"names": names{"en": mmdbtype.String(strings.Repeat("x", registry.MaxNameLen+1))}}}, registry.Location{},
		},
		"hostile city": {mmdbtype.Map{"city": names{"names": names{"en": text("a\nb")}}}, registry.Location{}},
		"no text":      {mmdbtype.Map{"city": names{"names": names{"en": text("\xff")}}}, registry.Location{}},
		"half a place": {mmdbtype.Map{"location": mmdbtype.Map{"latitude": mmdbtype.Float64(1)}}, registry.Location{}},
		"off the Earth": {
			at(91, 1), registry.Location{},
		},
		"nowhere": {
			at(math.NaN(), 1), registry.Location{},
		},
		"null": {
			at(0, 0), registry.Location{Position: &registry.Position{}},
		},
		"no subdivision": {
			mmdbtype.Map{"country": names{"iso_code": text("MC")}, "subdivisions": mmdbtype.Slice{}}, registry.Location{Country: "MC"},
		},
	} {
		db := opened(t, written(t, build(t, "GeoIP2-City", 6, places{"185.1.0.0/16": c.record})))
		l, ok, err := db.Lookup(inFrankfurt())
		require.NoError(t, err, name)
		require.Equal(t, c.want, l, name)
		require.Equal(t, c.want != registry.Location{}, ok, name)
	}
}

func TestRefused(t *testing.T) {
	whole := build(t, "GeoLite2-City", 6, cities())
	for name, c := range map[string]struct {
		content []byte
		want    error
	}{
		"empty":   {nil, geo.ErrNotDatabase},
		"text":    {[]byte("country,city\nDE,Frankfurt\n"), geo.ErrNotDatabase},
		"cut off": {whole[:len(whole)-50], geo.ErrNotDatabase},
		"its end": {whole[len(whole)/2:], geo.ErrNotDatabase},
		"networks": {
			build(t, "GeoLite2-ASN", 6, places{"185.1.0.0/16": mmdbtype.Map{"autonomous_system_number": mmdbtype.Uint32(64512)}}), geo.ErrForeign,
		},
		"no type": {build(t, "", 6, cities()), geo.ErrForeign},
	} {
		_, err := geo.Open(written(t, c.content))
		require.ErrorIs(t, err, c.want, name)
		require.ErrorContains(t, err, "places.mmdb", name)
	}
	_, err := geo.Open(filepath.Join(t.TempDir(), "missing.mmdb"))
	require.ErrorIs(t, err, os.ErrNotExist)
	_, err = geo.Open(t.TempDir())
	require.ErrorIs(t, err, geo.ErrNotDatabase)

	large := written(t, whole)
	require.NoError(t, os.Truncate(large, geo.MaxSize+1)) // which takes no room on the disk
	_, err = geo.Open(large)
	require.ErrorIs(t, err, geo.ErrTooLarge)

	// A type that promises places, and records that have others' form.
	db := opened(t, written(t, build(t, "Some-Country", 6, places{"185.1.0.0/16": mmdbtype.Map{"country": mmdbtype.String("DE")}})))
	_, ok, err := db.Lookup(inFrankfurt())
	require.ErrorIs(t, err, geo.ErrForeign)
	require.False(t, ok)
}

// replace puts another file in the place of one, as one step.
func replace(t *testing.T, path string, content []byte) {
	t.Helper()
	next := path + ".new"
	require.NoError(t, os.WriteFile(next, content, 0o600))
	require.NoError(t, os.Rename(next, path))
}

func TestReplaced(t *testing.T) {
	path := written(t, build(t, "GeoLite2-City", 6, cities()))
	db := opened(t, path)
	city := func() (string, error) {
		l, ok, err := db.Lookup(inFrankfurt())
		require.True(t, ok)
		return l.City, err
	}
	name, err := city()
	require.NoError(t, err)
	require.Equal(t, "Frankfurt am Main", name)

	replace(t, path, build(t, "GeoIP2-City", 6, places{"185.1.0.0/16": place("DE", "HE", "Offenbach", 50.1, 8.76)}))
	name, err = city()
	require.NoError(t, err)
	require.Equal(t, "Offenbach", name)
	require.Equal(t, "GeoIP2-City", db.Info().Type)

	for range 2 {
		replace(t, path, []byte("sign in to download"))
		for range 2 {
			name, err = city()
			require.ErrorIs(t, err, geo.ErrFormer)
			require.ErrorIs(t, err, geo.ErrNotDatabase)
			require.Equal(t, "Offenbach", name)
		}
	}
	require.NoError(t, os.Remove(path))
	name, err = city()
	require.ErrorIs(t, err, geo.ErrFormer)
	require.ErrorIs(t, err, os.ErrNotExist)
	require.Equal(t, "Offenbach", name)

	replace(t, path, build(t, "GeoLite2-City", 6, cities()))
	name, err = city()
	require.NoError(t, err)
	require.Equal(t, "Frankfurt am Main", name)
}

// A file that is cut off while it is mapped takes its pages away from whoever reads them, and must not take the process.
func TestCutOffInPlace(t *testing.T) {
	whole := build(t, "GeoLite2-City", 6, cities())
	path := written(t, whole)
	db := opened(t, path)
	require.NoError(t, os.Truncate(path, 0))
	_, ok, err := db.Lookup(inFrankfurt())
	require.ErrorIs(t, err, geo.ErrNotDatabase)
	require.False(t, ok)

	require.NoError(t, os.WriteFile(path, whole, 0o600))
	l, ok, err := db.Lookup(inFrankfurt())
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, frankfurt(), l)
}

func TestClosed(t *testing.T) {
	db := opened(t, written(t, build(t, "GeoLite2-City", 6, cities())))
	before, _, err := db.Lookup(inFrankfurt())
	require.NoError(t, err)
	require.NoError(t, db.Close())
	require.NoError(t, db.Close())
	_, _, err = db.Lookup(inFrankfurt())
	require.ErrorIs(t, err, geo.ErrClosed)
	require.Zero(t, db.Info())
	require.Equal(t, frankfurt(), before, "what was answered does not go with the file")
}

func TestConcurrent(t *testing.T) {
	path := written(t, build(t, "GeoLite2-City", 6, cities()))
	db := opened(t, path)
	var group sync.WaitGroup
	errs := make(chan error, 1000)
	for range 4 {
		group.Go(func() {
			for range 100 {
				if _, ok, err := db.Lookup(inFrankfurt()); err != nil || !ok {
					errs <- err
				}
				db.Info()
			}
		})
	}
	for range 20 {
		replace(t, path, build(t, "GeoLite2-City", 6, cities()))
	}
	group.Wait()
	require.Empty(t, errs)
}

// A database of which one byte is another is refused, or says so, or answers.
func TestDamagedByte(t *testing.T) {
	whole := build(t, "GeoLite2-City", 6, cities())
	answers := 0
	path := written(t, whole)
	for i := range whole {
		content := bytes.Clone(whole)
		content[i] ^= [...]byte{0x01, 0x20, 0xff}[i%3]
		require.NoError(t, os.WriteFile(path, content, 0o600))
		db, err := geo.Open(path)
		if err != nil {
			require.True(t, isAny(err, geo.ErrNotDatabase, geo.ErrForeign), "byte %d: %v", i, err)
			continue
		}
		_, _, err = db.Lookup(inFrankfurt())
		require.True(t, err == nil || isAny(err, geo.ErrNotDatabase, geo.ErrForeign), "byte %d: %v", i, err)
		if err == nil {
			answers++
		}
		require.NoError(t, db.Close())
	}
	require.Positive(t, answers)
	require.Less(t, answers, len(whole))
}

// Whatever a file holds, it is refused or it answers, with what a registry takes.
func FuzzOpen(f *testing.F) {
	f.Add([]byte{}, []byte{185, 1, 2, 3})
	f.Add(build(f, "GeoLite2-City", 6, cities()), []byte{185, 1, 2, 3})
	country := places{"185.1.0.0/16": mmdbtype.Map{"country": names{"iso_code": text("DE")}}}
	f.Add(build(f, "GeoLite2-Country", 4, country), []byte{185, 1, 2, 3})
	f.Fuzz(func(t *testing.T, content, addr []byte) {
		db, err := geo.Open(written(t, content))
		if err != nil {
			require.True(t, isAny(err, geo.ErrNotDatabase, geo.ErrForeign, geo.ErrTooLarge), "%v", err)
			return
		}
		a, ok := netip.AddrFromSlice(addr)
		if !ok {
			a = inHelsinki()
		}
		l, ok, err := db.Lookup(a)
		require.True(t, err == nil || isAny(err, geo.ErrNotDatabase, geo.ErrForeign), "%v", err)
		require.Equal(t, l != registry.Location{}, ok)
		require.LessOrEqual(t, len(l.City), registry.MaxNameLen)
		require.LessOrEqual(t, len(l.Region), registry.MaxNameLen)
		require.Contains(t, []int{0, 2}, len(l.Country))
		if l.Position != nil {
			require.LessOrEqual(t, math.Abs(l.Position.Latitude), 90.0)
			require.LessOrEqual(t, math.Abs(l.Position.Longitude), 180.0)
		}
		require.NoError(t, db.Close())
	})
}
