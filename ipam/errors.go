package ipam

import (
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// Conditions. Errors of this package match one of them with [errors.Is] and add what it happened to.
var (
	// ErrConfig is matched by every [ConfigError].
	ErrConfig = errors.New("bad pool configuration")
	// ErrFamily is returned when the pool has no prefix of the family asked for.
	ErrFamily = errors.New("the pool has no prefix of this family")
	// ErrExhausted is returned when no address is free; see [ExhaustedError].
	ErrExhausted = errors.New("no free address")
	// ErrTaken is returned when the address asked for is leased.
	ErrTaken = errors.New("address is leased already")
	// ErrQuarantined is returned when the address asked for was released so lately that it still rests.
	ErrQuarantined = errors.New("address is in quarantine")
	// ErrNotInPool is returned for an address that lies in none of the pool's prefixes.
	ErrNotInPool = errors.New("address is not in the pool")
	// ErrReserved is returned for an address in the pool that is never leased: the gateway, a network or broadcast
	// address, or one that the configuration excludes.
	ErrReserved = errors.New("address is reserved")
	// ErrNotLeased is returned when the address to give back is not leased.
	ErrNotLeased = errors.New("address is not leased")
	// ErrEmptyKey is returned by [Pool.LeaseFor] for an empty key.
	ErrEmptyKey = errors.New("key is empty")
	// ErrSnapshotCorrupt is returned for a snapshot that is damaged, cut short or contradicts itself.
	ErrSnapshotCorrupt = errors.New("snapshot is corrupt")
	// ErrSnapshotForeign is returned by [Pool.Restore] for a sound snapshot that this pool cannot hold: of another
	// version, of prefixes that it does not have, or with leases of addresses that it reserves.
	ErrSnapshotForeign = errors.New("snapshot does not belong to this pool")
)

// ConfigError is one problem of a [Config]. [New] returns all that there are, joined. It matches [ErrConfig].
type ConfigError struct {
	// Field is the name of the field of Config.
	Field string
	// Index is the place in that field's list, or -1 when the problem is not of one element.
	Index int
	// Value is the offending value as text.
	Value string
	// Problem says what is wrong and how to mend it.
	Problem string
}

// Error names the place, the value and the problem.
func (e *ConfigError) Error() string {
	place := e.Field
	if e.Index >= 0 {
		place = fmt.Sprintf("%s[%d]", e.Field, e.Index)
	}
	return fmt.Sprintf("ipam: %s: %s %s", place, e.Value, e.Problem)
}

// Unwrap returns [ErrConfig].
func (e *ConfigError) Unwrap() error { return ErrConfig }

// AddrError says why an operation on one address failed.
type AddrError struct {
	// Op is what was asked for: "lease", "release" or "discard".
	Op string
	// Addr is the address it was asked for.
	Addr netip.Addr
	// Until is set when the address is in quarantine, which is over by then and may be over sooner: when it is over for
	// each single address is not kept in a form that could be looked up.
	Until time.Time
	// Err matches one of the Err variables of this package.
	Err error
}

// Error names the operation, the address and the reason.
func (e *AddrError) Error() string {
	text := fmt.Sprintf("ipam: %s %s: %s", e.Op, e.Addr, e.Err)
	if !e.Until.IsZero() {
		text += ", until " + stamp(e.Until) + " at the latest"
	}
	return text
}

// Unwrap returns the condition.
func (e *AddrError) Unwrap() error { return e.Err }

// ExhaustedError is returned when a family has no free address. It matches [ErrExhausted].
type ExhaustedError struct {
	Family Family
	// Capacity is how many addresses Lease has to give.
	Capacity uint64
	// Quarantined is how many of them are in quarantine; the rest are leased.
	Quarantined uint64
	// Until is when the first of those in quarantine is free; zero when there are none.
	Until time.Time
}

// Error says how many addresses are leased, how many rest until when, and what to do.
func (e *ExhaustedError) Error() string {
	if e.Quarantined == 0 {
		return fmt.Sprintf("ipam: no free %s address: all %d are leased; release some or add a prefix", e.Family, e.Capacity)
	}
	return fmt.Sprintf("ipam: no free %s address: of %d, %d are leased and %d in quarantine, the first of these until %s; "+
		"try again then or add a prefix", e.Family, e.Capacity, e.Capacity-e.Quarantined, e.Quarantined, stamp(e.Until))
}

// Unwrap returns [ErrExhausted].
func (e *ExhaustedError) Unwrap() error { return ErrExhausted }

// stamp rounds up, since what an error says is over by then must be.
func stamp(t time.Time) string {
	if r := t.Truncate(time.Millisecond); r.Before(t) {
		t = r.Add(time.Millisecond)
	}
	return t.Format("2006-01-02T15:04:05.999Z07:00")
}
