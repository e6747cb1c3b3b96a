package geo

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/waylume/waylume/registry"
)

// Merge fills what is configured with what was found, field by field. Where the two have different countries the database is wrong about
// the address, and nothing of it is taken.
func Merge(configured, found registry.Location) registry.Location {
	if configured.Country != "" && found.Country != "" && configured.Country != found.Country {
		found = registry.Location{}
	}
	l := configured
	if l.Region == "" {
		l.Region = found.Region
	}
	if l.Country == "" {
		l.Country = found.Country
	}
	if l.City == "" {
		l.City = found.City
	}
	if l.Position == nil {
		l.Position = found.Position
	}
	if l.Position != nil {
		l.Position = new(*l.Position) // the caller's own
	}
	return l
}

// Locate returns where a server stands: as configured; what that leaves open as the database has it for the first of its public addresses
// of which it knows anything; else nothing. Addresses that are not valid are passed over, and db may be nil. With an error the
// location is what could be told nevertheless.
func Locate(configured registry.Location, db *Database, public ...netip.Addr) (registry.Location, error) {
	if db == nil {
		return Merge(configured, registry.Location{}), nil
	}
	var errs []error
	for _, addr := range public {
		if !addr.IsValid() {
			continue
		}
		found, ok, err := db.Lookup(addr)
		if err != nil {
			errs = append(errs, fmt.Errorf("locate %s: %w", addr, err))
		}
		if ok {
			return Merge(configured, found), errors.Join(errs...)
		}
	}
	return Merge(configured, registry.Location{}), errors.Join(errs...)
}
