package geo_test

import (
	"bytes"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"
	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/registry"
	"github.com/waylume/waylume/registry/geo"
)

// places are what a database says of some networks.
type places map[string]mmdbtype.DataType

type (
	names = mmdbtype.Map
	text  = mmdbtype.String
)

// place is a record as GeoLite2-City has it.
func place(country, region, city string, latitude, longitude float64) mmdbtype.Map {
	return mmdbtype.Map{
		"country":      names{"iso_code": mmdbtype.String(country), "names": names{"en": mmdbtype.String("the name of " + country)}},
		"subdivisions": mmdbtype.Slice{names{"iso_code": mmdbtype.String(region)}, names{"iso_code": text("ignored")}},
		"city":         names{"names": names{"de": text("anders"), "en": mmdbtype.String(city)}},
		"location": mmdbtype.Map{
			"latitude": mmdbtype.Float64(latitude), "longitude": mmdbtype.Float64(longitude), "accuracy_radius": mmdbtype.Uint16(20),
		},
	}
}

// cities is a small database of cities.
func cities() places {
	return places{
		"185.1.0.0/16":  place("DE", "HE", "Frankfurt am Main", 50.1188, 8.6843),
		"2a01:100::/32": place("FI", "18", "Helsinki", 60.1719, 24.9347),
	}
}

// build makes a database.
func build(t testing.TB, kind string, version int, all places) []byte {
	t.Helper()
	tree, err := mmdbwriter.New(mmdbwriter.Options{DatabaseType: kind, IPVersion: version, RecordSize: 24, BuildEpoch: 1_700_000_000})
	require.NoError(t, err)
	for prefix, value := range all {
		_, network, err := net.ParseCIDR(prefix)
		require.NoError(t, err)
		require.NoError(t, tree.Insert(network, value))
	}
	var b bytes.Buffer
	_, err = tree.WriteTo(&b)
	require.NoError(t, err)
	return b.Bytes()
}

// written is the path of a new file.
func written(t testing.TB, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "places.mmdb")
	require.NoError(t, os.WriteFile(path, content, 0o600))
	return path
}

func opened(t testing.TB, path string) *geo.Database {
	t.Helper()
	db, err := geo.Open(path)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return db
}

func frankfurt() registry.Location {
	return registry.Location{
		Region: "DE-HE", Country: "DE", City: "Frankfurt am Main", Position: &registry.Position{Latitude: 50.1188, Longitude: 8.6843},
	}
}

func helsinki() registry.Location {
	return registry.Location{
		Region: "FI-18", Country: "FI", City: "Helsinki", Position: &registry.Position{Latitude: 60.1719, Longitude: 24.9347},
	}
}

// Addresses in Frankfurt, in Helsinki, and in neither.
func inFrankfurt() netip.Addr { return netip.MustParseAddr("185.1.2.3") }
func inHelsinki() netip.Addr  { return netip.MustParseAddr("2a01:100::1") }
func elsewhere() netip.Addr   { return netip.MustParseAddr("8.8.8.8") }
