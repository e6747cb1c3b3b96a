package v1

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/waylume/waylume/quota"
	"github.com/waylume/waylume/shaping"
)

// Rate is a speed in bit/s; 0 is no limit. As JSON it is a number; a text that [shaping.ParseRate] reads is read, too: "20mbit".
type Rate uint64

// UnmarshalJSON reads a number or a text. Null leaves the rate as it is.
func (r *Rate) UnmarshalJSON(data []byte) error {
	n, err := amount(data, `bit/s as a whole number, or a text like "20mbit"`, func(text string) (uint64, error) {
		rate, err := shaping.ParseRate(text)
		return uint64(rate), err
	}, uint64(*r))
	if err == nil {
		*r = Rate(n)
	}
	return err
}

// Bytes is an amount of data. As JSON it is a number; a text that [quota.ParseBytes] reads is read, too: "5GiB".
type Bytes uint64

// UnmarshalJSON reads a number or a text. Null leaves the amount as it is.
func (b *Bytes) UnmarshalJSON(data []byte) error {
	n, err := amount(data, `bytes as a whole number, or a text like "5GiB"`, func(text string) (uint64, error) {
		bytes, err := quota.ParseBytes(text)
		return uint64(bytes), err
	}, uint64(*b))
	if err == nil {
		*b = Bytes(n)
	}
	return err
}

// amount reads a number, or a text that has a unit.
func amount(data []byte, want string, parse func(string) (uint64, error), before uint64) (uint64, error) {
	switch {
	case string(data) == "null":
		return before, nil
	case len(data) > 0 && data[0] == '"':
		var text string
		if err := json.Unmarshal(data, &text); err != nil {
			return 0, err
		}
		return parse(text)
	}
	n, err := strconv.ParseUint(string(data), 10, 64)
	if errors.Is(err, strconv.ErrRange) {
		return 0, fmt.Errorf("%s is out of range: give %s", abridge(data), want)
	}
	if err != nil {
		return 0, fmt.Errorf("%s is not it: give %s", abridge(data), want)
	}
	return n, nil
}

// Duration is a length of time. As JSON it is a text as [time.ParseDuration] reads it: "72h".
type Duration time.Duration

// MarshalText writes what time.Duration's String does.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText reads what time.ParseDuration does.
func (d *Duration) UnmarshalText(text []byte) error {
	parsed, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf(`%q is not a duration: give hours, minutes and seconds, like "72h" or "1h30m"`, abridge(text))
	}
	*d = Duration(parsed)
	return nil
}

// Key is a WireGuard key; zero: none. It converts to and from wgtypes.Key.
type Key [32]byte

var errKey = errors.New(`is not a WireGuard key: give 32 bytes in base64, 43 characters and a "="`)

// MarshalText writes the key in base64.
func (k Key) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// String is the key in base64.
func (k Key) String() string { return base64.StdEncoding.EncodeToString(k[:]) }

// ID is the key in base64 for URLs, without padding: a peer's id.
func (k Key) ID() string { return base64.RawURLEncoding.EncodeToString(k[:]) }

// UnmarshalText reads base64, of either alphabet, with padding or without. An error does not show the text, which may be a
// secret.
func (k *Key) UnmarshalText(text []byte) error {
	plain := strings.TrimSuffix(string(text), "=")
	if len(plain) == len(text)-1 && len(text) != 44 || strings.ContainsAny(plain, "\r\n") { // which a decoder passes over
		return errKey
	}
	plain = strings.NewReplacer("-", "+", "_", "/").Replace(plain)
	decoded, err := base64.RawStdEncoding.Strict().DecodeString(plain)
	if err != nil || len(decoded) != len(k) {
		return errKey
	}
	copy(k[:], decoded)
	return nil
}

// abridge keeps a hostile text from filling an error.
func abridge(data []byte) string {
	const most = 40
	if len(data) <= most {
		return string(data)
	}
	return string(data[:most]) + "..."
}
