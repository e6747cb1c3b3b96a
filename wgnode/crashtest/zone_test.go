package crashtest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/waylume/waylume/quota"
)

// Periods of data caps begin at whole hours of a time zone: for one to begin within a test there must be a zone where that hour
// is near. The tests have a directory of such zones, in which package time looks first.
const (
	zoneVariable = "ZONEINFO"
	zonePrefix   = "waylume-crashtest-zones-"
	zoneFolder   = "Crash"
)

// withZones runs with a directory for zones, which programs that are started have, too.
func withZones(run func() int) int {
	if strings.HasPrefix(filepath.Base(os.Getenv(zoneVariable)), zonePrefix) { // started by one that has it
		return run()
	}
	dir, err := makeZones()
	if err != nil {
		fmt.Fprintln(os.Stderr, "make a directory for time zones:", err)
		return 1
	}
	code := run()
	if err := os.RemoveAll(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

func makeZones() (dir string, err error) {
	if dir, err = os.MkdirTemp("", zonePrefix); err != nil {
		return "", err
	}
	return dir, errors.Join(os.Mkdir(filepath.Join(dir, zoneFolder), 0o700), os.Setenv(zoneVariable, dir))
}

// zoneOf names the zone whose days begin at a time, to the second.
func zoneOf(midnight time.Time) string {
	return zoneFolder + "/" + strconv.FormatInt(midnight.Unix(), 10)
}

// east is how far that zone is from UTC, in seconds.
func east(midnight time.Time) int { return int(-(midnight.Unix() % (24 * 60 * 60))) }

// prepareZones makes the zones whose days begin within a while.
func prepareZones(from time.Time) error {
	for ahead := time.Duration(0); ahead < 2*patience; ahead += time.Second {
		midnight := from.Add(ahead)
		path := filepath.Join(os.Getenv(zoneVariable), filepath.FromSlash(zoneOf(midnight)))
		if _, err := os.Stat(path); err == nil {
			continue
		}
		if err := os.WriteFile(path, zoneFile(int32(east(midnight))), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// zoneFile is a zone that is always so many seconds east of UTC, as RFC 9636, section 3, has it: a header, one type of local
// time, and its designation.
func zoneFile(east int32) []byte {
	const designation = "CRS\x00"
	file := append([]byte("TZif"), make([]byte, 16)...) // version 1
	for _, count := range []uint32{0, 0, 0, 0, 1, uint32(len(designation))} {
		file = binary.BigEndian.AppendUint32(file, count)
	}
	file = binary.BigEndian.AppendUint32(file, uint32(east))
	file = append(file, 0, 0) // no daylight saving time, and the first designation
	return append(file, designation...)
}

// boundaryOf is when a period of a zone of ours begins; false for others, of which none begins within a test.
func boundaryOf(p quota.Period) (time.Time, bool) {
	number, ok := strings.CutPrefix(p.TimeZone, zoneFolder+"/")
	if !ok {
		return time.Time{}, false
	}
	seconds, err := strconv.ParseInt(number, 10, 64)
	return time.Unix(seconds, 0), err == nil
}

// drawPeriod makes a period that begins in a second or a few.
func drawPeriod(r *rand.Rand) quota.Period {
	at := now().Add(time.Duration(1+r.IntN(3)) * time.Second).Truncate(time.Second)
	p := quota.Period{Kind: pick(r, []quota.PeriodKind{quota.Daily, quota.Weekly, quota.Monthly}), TimeZone: zoneOf(at)}
	local := at.In(time.FixedZone("", east(at)))
	switch p.Kind {
	case quota.Weekly:
		p.Weekday = local.Weekday()
	case quota.Monthly:
		p.Day = local.Day()
	}
	return p
}
