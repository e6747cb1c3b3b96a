package geo

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"runtime"
	"runtime/debug"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/oschwald/maxminddb-golang/v2"

	"github.com/waylume/waylume/registry"
)

// record is the part of a database's that says where an address is.
type record struct {
	Country struct {
		Code string `maxminddb:"iso_code"`
	} `maxminddb:"country"`
	Subdivisions []struct {
		Code string `maxminddb:"iso_code"`
	} `maxminddb:"subdivisions"`
	City struct {
		Names struct {
			English string `maxminddb:"en"`
		} `maxminddb:"names"`
	} `maxminddb:"city"`
	Location struct {
		Latitude  *float64 `maxminddb:"latitude"`
		Longitude *float64 `maxminddb:"longitude"`
	} `maxminddb:"location"`
}

// find looks an address up.
func find(reader *maxminddb.Reader, addr netip.Addr) (l registry.Location, ok bool, err error) {
	const onlyV4 = 4
	if addr.Is6() && reader.Metadata.IPVersion == onlyV4 {
		return registry.Location{}, false, nil
	}
	err = guarded(func() error {
		result := reader.Lookup(addr)
		if !result.Found() {
			return result.Err()
		}
		var r record
		if err := result.Decode(&r); err != nil {
			if _, is := errors.AsType[maxminddb.UnmarshalTypeError](err); is {
				return fmt.Errorf("%w: %w", ErrForeign, err)
			}
			return err
		}
		l = r.location()
		return nil
	})
	if _, is := errors.AsType[maxminddb.InvalidDatabaseError](err); is {
		err = fmt.Errorf("%w: %w", ErrNotDatabase, err)
	}
	if err != nil {
		return registry.Location{}, false, err
	}
	return l, l != (registry.Location{}), nil
}

// location is what a registry takes of a record; what it would refuse is left out.
func (r *record) location() registry.Location {
	var l registry.Location
	if isCode(r.Country.Code) {
		l.Country = strings.Clone(r.Country.Code)
	}
	if l.Country != "" && len(r.Subdivisions) > 0 {
		if code := r.Subdivisions[0].Code; code != "" && isName(l.Country+"-"+code) {
			l.Region = l.Country + "-" + code
		}
	}
	if isName(r.City.Names.English) {
		l.City = strings.Clone(r.City.Names.English)
	}
	if lat, long := r.Location.Latitude, r.Location.Longitude; lat != nil && long != nil && math.Abs(*lat) <= 90 && math.Abs(*long) <= 180 {
		l.Position = &registry.Position{Latitude: *lat, Longitude: *long}
	}
	return l
}

// isCode says whether this is a country's as ISO 3166-1 has it.
func isCode(s string) bool {
	return len(s) == 2 && strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == ""
}

func isName(s string) bool {
	return len(s) <= registry.MaxNameLen && utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}

// guarded calls f, and makes an error of it when the file ends before the memory that shows it does, because it was cut off meanwhile,
// or when its bytes lead astray whoever reads them.
func guarded(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		switch p := recover().(type) {
		case nil:
		case runtime.Error:
			err = fmt.Errorf("%w: %w", ErrNotDatabase, p)
		default:
			panic(p)
		}
	}()
	return f()
}
