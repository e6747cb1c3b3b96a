package quota

import "time"

// calendar computes the boundaries of a calendar period. Periods are numbered: days and weeks since 1970, months since the
// year 0. Boundary i is the instant at which the wall clock first shows the civil time that period i begins at. That
// definition is monotonic in i whatever a zone does to its clock, which the arithmetic of time.Date is not: it does not say
// which side of a gap or which of two equal hours it returns.
type calendar struct {
	Period // normal
	zone   *time.Location
}

const (
	secondsPerHour = 60 * 60
	secondsPerDay  = 24 * secondsPerHour
	daysPerWeek    = 7
	monthsPerYear  = 12
	// firstSunday is the day of the first Sunday of 1970, counted from its first day, a Thursday.
	firstSunday = 3
)

// bounds returns the number of the period that t lies in, its beginning, and its end, which lies after t.
func (c calendar) bounds(t time.Time) (number int, start, end time.Time) {
	number = c.guess(t)
	start = c.boundary(number)
	for start.After(t) {
		number--
		start = c.boundary(number)
	}
	end = c.boundary(number + 1)
	for !end.After(t) {
		number++
		start, end = end, c.boundary(number+1)
	}
	return number, start, end
}

// guess is the number of t's period or a neighbour of it, by the date on the wall.
func (c calendar) guess(t time.Time) int {
	year, month, day := t.In(c.zone).Date()
	if c.Kind == Monthly {
		return year*monthsPerYear + int(month) - 1
	}
	days := int(floorDiv(time.Date(year, month, day, 0, 0, 0, 0, time.UTC).Unix(), secondsPerDay))
	if c.Kind == Daily {
		return days
	}
	return int(floorDiv(int64(days-firstSunday-int(c.Weekday)), daysPerWeek))
}

// boundary is the instant at which period i begins.
func (c calendar) boundary(i int) time.Time {
	var days int64
	switch c.Kind {
	case Monthly:
		year, month := i/monthsPerYear, time.Month(i%monthsPerYear+1) // ledgers know no time before 1970
		// Day 0 of the next month is the last of this one.
		last := time.Date(year, month+1, 0, 0, 0, 0, 0, time.UTC).Day()
		days = time.Date(year, month, min(c.Day, last), 0, 0, 0, 0, time.UTC).Unix() / secondsPerDay
	case Weekly:
		days = int64(i)*daysPerWeek + firstSunday + int64(c.Weekday)
	default:
		days = int64(i)
	}
	return firstShown(days*secondsPerDay+int64(c.Hour)*secondsPerHour, c.zone)
}

// firstShown returns the first instant at which the wall clock of zone shows civil or later; civil is in seconds, as if
// the clock showed UTC. An hour that does not exist is first shown, as a later one, when the gap ends.
func firstShown(civil int64, zone *time.Location) time.Time {
	// No zone is this far from UTC, so the search begins before and meets each stretch of constant offset in turn.
	const farthest = 36 * secondsPerHour
	at := time.Unix(civil-farthest, 0).In(zone)
	for {
		_, offset := at.Zone()
		_, end := at.ZoneBounds()
		if !end.IsZero() && !end.After(at) {
			// By the rules for years that a zone's table does not reach, package time ends a leap year after 365 days, so
			// that for its last day, in UTC, the end lies before it. No zone changes its clock on that day.
			end = time.Unix((at.Unix()/secondsPerDay+1)*secondsPerDay, 0)
		}
		// at is the beginning of the stretch, but for the first, in which the clock shows civil later than at.
		shown := max(at.Unix(), civil-int64(offset))
		if end.IsZero() || shown < end.Unix() {
			return time.Unix(shown, 0).UTC()
		}
		at = end.In(zone)
	}
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b != 0 && (a < 0) != (b < 0) {
		q--
	}
	return q
}
