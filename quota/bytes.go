package quota

import (
	"errors"
	"fmt"
	"math/big"
	"strconv"
	"strings"
)

// Bytes is an amount of data: whole inner IP packets, headers included, without what WireGuard adds around them.
type Bytes uint64

// Amounts to multiply with. The names are those of IEC 80000-13: powers of 1,024.
const (
	KiB Bytes = 1 << (10 * (iota + 1))
	MiB
	GiB
	TiB
	PiB
	EiB
)

// MaxBytes is the largest amount that a cap can have and that [ParseBytes] reads.
const MaxBytes = EiB

// Why [ParseBytes] refuses a text and [Ledger.TopUp] an amount.
var (
	// ErrBytesSyntax is matched by errors about a text that is not an amount of data.
	ErrBytesSyntax = errors.New("quota: not an amount of data")
	// ErrBytesRange is matched by errors about an amount above [MaxBytes].
	ErrBytesRange = errors.New("quota: amount of data out of range")
)

// maxBytesText is more than any amount needs that means something: it bounds the arithmetic on what a stranger sends.
const maxBytesText = 64

// ParseBytes reads an amount with an IEC unit ("5GiB", powers of 1,024), an SI unit ("5GB", powers of 1,000), "B", or
// none for bytes. Units are K, M, G, T, P, E with iB or B, in any case, and a space may stand before them; "5G" alone is
// refused because the two readings differ by 7 %. A fraction ("1.5GiB") is rounded to the nearest byte. Errors match
// [ErrBytesSyntax], or [ErrBytesRange] above [MaxBytes].
func ParseBytes(text string) (Bytes, error) {
	s := strings.TrimSpace(text)
	if len(s) > maxBytesText {
		return 0, bytesSyntaxError(text)
	}
	end := strings.IndexFunc(s, func(r rune) bool { return r != '.' && (r < '0' || r > '9') })
	if end < 0 {
		end = len(s)
	}
	unit, ok := unitBytes(strings.ToLower(strings.TrimSpace(s[end:])))
	// Digits on both sides of the point: Rat would also read "5." and ".5".
	if !ok || end == 0 || s[0] == '.' || s[end-1] == '.' {
		return 0, bytesSyntaxError(text)
	}
	amount, ok := new(big.Rat).SetString(s[:end])
	if !ok {
		return 0, bytesSyntaxError(text)
	}
	amount.Mul(amount, new(big.Rat).SetFrac(new(big.Int).SetUint64(uint64(unit)), big.NewInt(1)))
	// floor(amount + 1/2)
	amount.Add(amount, big.NewRat(1, 2))
	whole := new(big.Int).Quo(amount.Num(), amount.Denom())
	if !whole.IsUint64() || whole.Uint64() > uint64(MaxBytes) {
		return 0, fmt.Errorf("%w: %q is above %v", ErrBytesRange, clip(text), MaxBytes)
	}
	return Bytes(whole.Uint64()), nil
}

// unitBytes returns how many bytes one of a unit in lower case is.
func unitBytes(unit string) (Bytes, bool) {
	if unit == "" || unit == "b" {
		return 1, true
	}
	power := strings.IndexByte("kmgtpe", unit[0]) + 1
	if power == 0 {
		return 0, false
	}
	step := Bytes(1000)
	switch unit[1:] {
	case "b":
	case "ib":
		step = 1024
	default:
		return 0, false
	}
	size := Bytes(1)
	for range power {
		size *= step
	}
	return size, true
}

func bytesSyntaxError(text string) error {
	return fmt.Errorf("%w: %q; write a number and a unit, such as 5GiB, 1.5TiB, 500MB or 1024", ErrBytesSyntax, clip(text))
}

// clip keeps hostile input from filling an error or a log.
func clip(text string) string {
	if len(text) > 40 {
		return text[:40] + "..."
	}
	return text
}

// String is the exact amount in a unit that keeps it short: an IEC unit with at most three decimals ("5GiB", "1.5KiB"),
// else a whole number of an SI unit ("5GB"), else bytes ("1234567B"). [ParseBytes] reads it back to the same amount, up to
// [MaxBytes].
func (b Bytes) String() string {
	const units = "KMGTPE"
	const short = 10_000 // units; what needs more reads better in another
	for i := len(units); i > 0; i-- {
		unit := Bytes(1) << (10 * i)
		// Three decimals are exact only for multiples of an eighth: 1/1024 has ten.
		if b < unit || b%(unit/8) != 0 || b/unit >= short {
			continue
		}
		text := strconv.FormatUint(uint64(b/unit), 10)
		if rest := b % unit; rest != 0 {
			text += "." + strings.TrimRight(fmt.Sprintf("%03d", rest/(unit/8)*125), "0")
		}
		return text + units[i-1:i] + "iB"
	}
	for i, unit := len(units), Bytes(1e18); i > 0; i, unit = i-1, unit/1000 {
		if b >= unit && b%unit == 0 && b/unit < short {
			return strconv.FormatUint(uint64(b/unit), 10) + strings.Replace(units[i-1:i], "K", "k", 1) + "B"
		}
	}
	return strconv.FormatUint(uint64(b), 10) + "B"
}

// MarshalText writes the amount as [Bytes.String] does.
func (b Bytes) MarshalText() ([]byte, error) { return []byte(b.String()), nil }

// UnmarshalText reads what [ParseBytes] reads.
func (b *Bytes) UnmarshalText(text []byte) error {
	v, err := ParseBytes(string(text))
	if err == nil {
		*b = v
	}
	return err
}
