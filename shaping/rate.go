package shaping

import (
	"errors"
	"fmt"
	"math"
	"math/bits"
	"strconv"
	"strings"
	"time"
)

// Rate is a speed in bits per second, counted over whole IP packets. The zero value is [Unlimited].
type Rate uint64

const (
	// Unlimited is the absence of a limit.
	Unlimited Rate = 0
	// MinRate is the slowest limit: 8 kbit/s, at which one full packet takes about a second and a half.
	MinRate Rate = 8_000
	// MaxRate is the fastest limit: 1 Tbit/s. No path reaches it, and a limit of MaxRate is shaped as no limit at all.
	MaxRate Rate = 1_000_000_000_000
)

// Why [ParseRate] and [Rate.Validate] refuse a rate.
var (
	// ErrRateSyntax is matched by errors about a text that is not a rate.
	ErrRateSyntax = errors.New("shaping: not a rate")
	// ErrRateRange is matched by errors about a rate that is too small or too large.
	ErrRateRange = errors.New("shaping: rate out of range")
)

// unlimitedText is how [Unlimited] is written; "0" is refused, since it could as well mean "nothing at all".
const unlimitedText = "unlimited"

// ParseRate reads a rate in the units of tc(8), in any case: "20mbit", "1.5gbit", "100kbit", "800bit", "1kibit" (1,024
// bit/s), "2mbps" (bytes: 16 Mbit/s), a bare number of bit/s, or "unlimited". A space before the unit and "/s" after a bit
// unit are accepted. The result is rounded to a whole bit/s. Errors match [ErrRateSyntax], or [ErrRateRange] for 0 and for
// more than [MaxRate]; a rate below [MinRate] parses, and [Rate.Validate] refuses it.
func ParseRate(text string) (Rate, error) {
	s := strings.ToLower(strings.TrimSpace(text))
	if s == unlimitedText {
		return Unlimited, nil
	}
	end := strings.IndexFunc(s, func(r rune) bool { return r != '.' && (r < '0' || r > '9') })
	if end < 0 {
		end = len(s)
	}
	unit, ok := unitBits(strings.TrimSpace(s[end:]))
	if !ok {
		return 0, syntaxError(text)
	}
	number, err := strconv.ParseFloat(s[:end], 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		return 0, syntaxError(text)
	}
	// A float64 is exact to well below one bit/s up to MaxRate, so that every rate survives printing and parsing.
	switch v := math.Round(number * unit); {
	case v == 0:
		return 0, fmt.Errorf("%w: %q is no rate to shape to; write %q for no limit", ErrRateRange, clip(text), unlimitedText)
	case v > float64(MaxRate):
		return 0, fmt.Errorf("%w: %q is above %v", ErrRateRange, clip(text), MaxRate)
	default:
		return Rate(v), nil
	}
}

// unitBits returns how many bit/s one of a unit is: an SI (k, m, g, t) or IEC (ki, mi, gi, ti) prefix and "bit" or, for
// bytes, "bps", as the table in tc(8) has them.
func unitBits(unit string) (float64, bool) {
	if unit == "" {
		return 1, true
	}
	scale := 1.0
	prefix, ok := strings.CutSuffix(strings.TrimSuffix(unit, "/s"), "bit")
	if !ok {
		if prefix, ok = strings.CutSuffix(unit, "bps"); !ok {
			return 0, false
		}
		scale = 8
	}
	if prefix == "" {
		return scale, true
	}
	power := strings.IndexByte("kmgt", prefix[0]) + 1
	switch {
	case power == 0 || len(prefix) > 2:
		return 0, false
	case len(prefix) == 1:
		return scale * math.Pow(1000, float64(power)), true
	case prefix[1] == 'i':
		return scale * math.Pow(1024, float64(power)), true
	}
	return 0, false
}

func syntaxError(text string) error {
	return fmt.Errorf("%w: %q; write a number and a unit, such as 20mbit, 1.5gbit, 500kbit, or %q", ErrRateSyntax, clip(text), unlimitedText)
}

// clip keeps hostile input from filling an error or a log.
func clip(text string) string {
	if len(text) > 40 {
		return text[:40] + "..."
	}
	return text
}

// String prints the rate in the largest unit that needs at most three decimals: "20mbit", "1.5gbit", "unlimited".
// [ParseRate] reads it back to the same rate, up to [MaxRate].
func (r Rate) String() string {
	if r == Unlimited {
		return unlimitedText
	}
	units := [...]struct {
		name string
		bits Rate
	}{{"tbit", 1e12}, {"gbit", 1e9}, {"mbit", 1e6}, {"kbit", 1e3}}
	for _, u := range units {
		if r < u.bits || r%(u.bits/1000) != 0 {
			continue
		}
		whole := strconv.FormatUint(uint64(r/u.bits), 10)
		if rest := r % u.bits; rest != 0 {
			return strings.TrimRight(fmt.Sprintf("%s.%03d", whole, rest/(u.bits/1000)), "0") + u.name
		}
		return whole + u.name
	}
	return strconv.FormatUint(uint64(r), 10) + "bit"
}

// MarshalText writes the rate as [Rate.String] does.
func (r Rate) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads what [ParseRate] reads.
func (r *Rate) UnmarshalText(text []byte) error {
	v, err := ParseRate(string(text))
	if err == nil {
		*r = v
	}
	return err
}

// Validate returns an error that matches [ErrRateRange] unless the rate is [Unlimited] or from [MinRate] to [MaxRate].
func (r Rate) Validate() error {
	if r != Unlimited && (r < MinRate || r > MaxRate) {
		return fmt.Errorf("%w: %v; choose %v to %v, or %v", ErrRateRange, r, MinRate, MaxRate, Unlimited)
	}
	return nil
}

// Lower returns the lower of two rates, [Unlimited] being the highest.
func (r Rate) Lower(other Rate) Rate {
	if r == Unlimited || other != Unlimited && other < r {
		return other
	}
	return r
}

// Bytes returns how many whole bytes pass in d, at most [math.MaxInt64]; for [Unlimited] that is the maximum.
func (r Rate) Bytes(d time.Duration) int64 {
	if d <= 0 {
		return 0
	}
	hi, lo := bits.Mul64(uint64(r), uint64(d))
	if r == Unlimited || hi >= unitsPerByte {
		return math.MaxInt64
	}
	quotient, _ := bits.Div64(hi, lo, unitsPerByte)
	return int64(min(quotient, math.MaxInt64))
}

// Duration returns how long n bytes take, rounded up to a nanosecond; for [Unlimited] and for n <= 0 that is 0.
func (r Rate) Duration(n int64) time.Duration {
	if r == Unlimited || n <= 0 {
		return 0
	}
	hi, lo := bits.Mul64(uint64(n), unitsPerByte)
	lo, carry := bits.Add64(lo, uint64(r)-1, 0)
	if hi += carry; hi >= uint64(r) {
		return math.MaxInt64
	}
	quotient, _ := bits.Div64(hi, lo, uint64(r))
	return time.Duration(min(quotient, math.MaxInt64))
}
