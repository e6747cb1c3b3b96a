// Package geo finds out where a server stands: from its configuration, and what that leaves open from a database in MaxMind's format
// (https://maxmind.github.io/MaxMind-DB/) on this host, such as GeoLite2-City. It asks no service, ever.
//
//	db, err := geo.Open("/var/lib/GeoIP/GeoLite2-City.mmdb")
//	if err != nil {
//		return err
//	}
//	defer db.Close()
//	registration.Location, err = geo.Locate(configured, db, publicAddr)
//
// A [Database] is mapped into memory, starts nothing, and needs no privilege. One that is replaced by another file, as the tools that
// fetch new ones do, is opened anew with the next question. What overwrites a file in its place instead may have a question fail, and
// no more than that.
package geo
