package quota

import "math/bits"

// Counters are the inner IP bytes that a subject has moved, ever: whole IP packets that were delivered, each counted once.
// They only grow, and are kept over restarts, so that all that is derived from them is too.
type Counters struct {
	// Download is towards the peer.
	Download uint64 `json:"download"`
	// Upload is from the peer.
	Upload uint64 `json:"upload"`
}

// Of is the counter that a cap on these directions watches. The sum of both stops at the largest uint64.
func (c Counters) Of(counted Counted) uint64 {
	switch counted {
	case CountDownload:
		return c.Download
	case CountUpload:
		return c.Upload
	default:
		return addSat(c.Download, c.Upload)
	}
}

// since is what c has beyond an earlier reading; a counter that went backwards has moved nothing.
func (c Counters) since(earlier Counters) Counters {
	return Counters{Download: subSat(c.Download, earlier.Download), Upload: subSat(c.Upload, earlier.Upload)}
}

func (c Counters) plus(d Counters) Counters {
	return Counters{Download: addSat(c.Download, d.Download), Upload: addSat(c.Upload, d.Upload)}
}

// addSat adds, and stops at the largest value.
func addSat(a, b uint64) uint64 {
	sum, carry := bits.Add64(a, b, 0)
	if carry != 0 {
		return 1<<64 - 1
	}
	return sum
}

// subSat subtracts, and stops at zero.
func subSat(a, b uint64) uint64 {
	if b > a {
		return 0
	}
	return a - b
}

// Direction is where a packet goes.
type Direction int

const (
	// Download is towards the peer.
	Download Direction = iota
	// Upload is from the peer.
	Upload
)

var directionNames = names[Direction]{what: "direction", list: []string{"download", "upload"}}

// String is "download" or "upload".
func (d Direction) String() string { return directionNames.text(d) }

// Counted says which directions use up a cap.
type Counted int8

const (
	// CountBoth counts download and upload together.
	CountBoth Counted = iota
	// CountDownload counts only what goes to the peer.
	CountDownload
	// CountUpload counts only what comes from the peer.
	CountUpload
)

var countedNames = names[Counted]{what: "counted", list: []string{"both", "download", "upload"}}

// Counts reports whether packets of a direction use up the cap.
func (c Counted) Counts(d Direction) bool {
	return c == CountBoth || (c == CountUpload) == (d == Upload)
}

// String is "both", "download" or "upload".
func (c Counted) String() string { return countedNames.text(c) }

// MarshalText writes the value as String does; a value that is none of the constants is an error.
func (c Counted) MarshalText() ([]byte, error) { return countedNames.marshal(c) }

// UnmarshalText reads what MarshalText writes.
func (c *Counted) UnmarshalText(text []byte) error { return countedNames.unmarshal(c, text) }

// Action is what happens when a cap is used up.
type Action int8

const (
	// Block refuses all packets of the subject, in both directions, until there is more to use.
	Block Action = iota
	// Throttle lets packets pass, counts on, and slows the subject down.
	Throttle
)

var actionNames = names[Action]{what: "action", list: []string{"block", "throttle"}}

// String is "block" or "throttle".
func (a Action) String() string { return actionNames.text(a) }

// MarshalText writes the value as String does; a value that is none of the constants is an error.
func (a Action) MarshalText() ([]byte, error) { return actionNames.marshal(a) }

// UnmarshalText reads what MarshalText writes.
func (a *Action) UnmarshalText(text []byte) error { return actionNames.unmarshal(a, text) }
