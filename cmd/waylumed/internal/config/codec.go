package config

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/waylume/waylume/cmd/waylumed/internal/words"
	"github.com/waylume/waylume/quota"
	"github.com/waylume/waylume/shaping"
	"github.com/waylume/waylume/wgnode/httpapi/auth"
)

// codec reads and writes the values of one type.
type codec[T any] struct {
	// unit says what a person writes.
	unit string
	// values are all that there are, if closed says so, or some.
	values []string
	parse  func(string) (T, error)
	format func(T) string
}

func boolean() codec[bool] {
	return codec[bool]{
		unit: "true or false", values: []string{"true", "false"},
		parse: func(text string) (bool, error) {
			if text != "true" && text != "false" {
				return false, fmt.Errorf("%q is neither true nor false: give one of them", clip(text))
			}
			return text == "true", nil
		},
		format: strconv.FormatBool,
	}
}

// oneOf is a word out of several.
func oneOf(values ...string) codec[string] {
	return codec[string]{
		unit: inWords(values, "or"), values: values,
		parse: func(text string) (string, error) {
			if !slices.Contains(values, text) {
				return "", fmt.Errorf("%q is not known: give %s", clip(text), inWords(values, "or"))
			}
			return text, nil
		},
		format: asIs,
	}
}

// text is free text, of so many bytes.
func text(unit string, least, most int) codec[string] {
	return codec[string]{
		unit: unit,
		parse: func(text string) (string, error) {
			switch {
			case len(text) < least:
				return "", errors.New("is empty: give one, or leave the line out")
			case len(text) > most:
				return "", fmt.Errorf("has %d bytes: at most %d are allowed", len(text), most)
			case strings.ContainsFunc(text, unicode.IsControl) || strings.ContainsRune(text, unicode.ReplacementChar):
				return "", fmt.Errorf("%q has bytes that are not text: leave them out", clip(text))
			}
			return text, nil
		},
		format: asIs,
	}
}

// path is the name of a file or a directory, which the table resolves against where it was written.
func path(unit string) codec[string] { return text(unit, 1, 4095) }

func secret(unit string, check func(string) error) codec[Secret] {
	return codec[Secret]{
		unit: unit,
		parse: func(text string) (Secret, error) {
			if text == hidden {
				return Secret{}, fmt.Errorf("is %s, which 'config show' writes in place of a secret: put the secret there, or name its file",
					hidden)
			}
			return Secret{text}, check(text)
		},
		format: Secret.String,
	}
}

// duration is from least to most.
func duration(least, most time.Duration) codec[time.Duration] {
	return codec[time.Duration]{
		unit: fmt.Sprintf("duration, %s to %s", words.InWords(least), words.InWords(most)),
		parse: func(text string) (time.Duration, error) {
			d, err := words.Duration(text)
			if err == nil && (d < least || d > most) {
				err = fmt.Errorf("is %s: give %s to %s", clip(text), words.InWords(least), words.InWords(most))
			}
			return d, err
		},
		format: words.InWords,
	}
}

// optional lets a value be none, which is the zero value.
func optional[T comparable](c codec[T]) codec[T] {
	var zero T
	return codec[T]{
		unit: c.unit + ", or none", values: append(slices.Clone(c.values), words.None),
		parse: func(text string) (T, error) {
			if text == words.None || text == "" {
				return zero, nil
			}
			return c.parse(text)
		},
		format: func(v T) string {
			if v == zero {
				return words.None
			}
			return c.format(v)
		},
	}
}

// integer is a whole number from least to most, in decimal or, after 0x, in hexadecimal.
func integer[T uint16 | uint32 | int](unit string, least, most T) codec[T] {
	return codec[T]{
		unit: fmt.Sprintf("%s, %d to %d", unit, least, most),
		parse: func(text string) (T, error) {
			base := 10
			digits, hex := strings.CutPrefix(text, "0x")
			if hex {
				base = 16
			}
			n, err := strconv.ParseInt(digits, base, 64)
			if err != nil || n < int64(least) || n > int64(most) {
				return 0, fmt.Errorf("%q is not a number that can be here: give %d to %d", clip(text), least, most)
			}
			return T(n), nil
		},
		format: func(n T) string { return strconv.FormatInt(int64(n), 10) },
	}
}

func number(unit string, least, most float64) codec[float64] {
	format := func(n float64) string { return strconv.FormatFloat(n, 'f', -1, 64) }
	return codec[float64]{
		unit: fmt.Sprintf("%s, %s to %s", unit, format(least), format(most)),
		parse: func(text string) (float64, error) {
			n, err := strconv.ParseFloat(text, 64)
			if err != nil || math.IsNaN(n) || n < least || n > most {
				return 0, fmt.Errorf("%q is not a number that can be here: give %s to %s", clip(text), format(least), format(most))
			}
			return n, nil
		},
		format: format,
	}
}

func rate() codec[shaping.Rate] {
	return codec[shaping.Rate]{
		unit: "rate as tc(8) has them, or unlimited", values: []string{"100mbit", "1gbit", "unlimited"},
		parse: words.Rate, format: shaping.Rate.String,
	}
}

func amount(least, most quota.Bytes) codec[quota.Bytes] {
	return codec[quota.Bytes]{
		unit: fmt.Sprintf("amount, %s to %s", least, most),
		parse: func(text string) (quota.Bytes, error) {
			n, err := quota.ParseBytes(text)
			if err == nil && cmp.Compare(n, least) >= 0 && n <= most {
				return n, nil
			}
			return 0, fmt.Errorf("%q is not an amount that can be here: give %s to %s", clip(text), least, most)
		},
		format: quota.Bytes.String,
	}
}

func address() codec[Address] {
	return codec[Address]{unit: "host:port or unix:path", parse: ParseAddress, format: Address.String}
}

func addr() codec[netip.Addr] {
	return codec[netip.Addr]{
		unit: "IP address",
		parse: func(text string) (netip.Addr, error) {
			a, err := netip.ParseAddr(text)
			if err != nil {
				return netip.Addr{}, fmt.Errorf("%q is not an IP address: give such as 192.0.2.1 or 2001:db8::1", clip(text))
			}
			return a, nil
		},
		format: netip.Addr.String,
	}
}

func prefix() codec[netip.Prefix] {
	return codec[netip.Prefix]{unit: "address or prefix", parse: words.Prefix, format: netip.Prefix.String}
}

func port() codec[uint16] {
	c := integer[uint16]("TCP port", 1, math.MaxUint16)
	c.parse = words.Port
	return c
}

// mode is the permissions of a file, in octal.
func mode() codec[fs.FileMode] {
	return codec[fs.FileMode]{
		unit: "mode in octal", values: []string{"0600", "0660", "0666"},
		parse: func(text string) (fs.FileMode, error) {
			n, err := strconv.ParseUint(strings.TrimPrefix(text, "0o"), 8, 9)
			if err != nil {
				return 0, fmt.Errorf("%q is not a mode: give such as 0600 or 0660", clip(text))
			}
			return fs.FileMode(n), nil
		},
		format: func(m fs.FileMode) string { return fmt.Sprintf("%04o", m) },
	}
}

func level() codec[slog.Level] {
	names := oneOf("debug", "info", "warn", "error")
	return codec[slog.Level]{
		unit: names.unit, values: names.values,
		parse: func(text string) (level slog.Level, err error) {
			if _, err := names.parse(text); err != nil {
				return 0, err
			}
			return level, level.UnmarshalText([]byte(text))
		},
		format: func(l slog.Level) string { return strings.ToLower(l.String()) },
	}
}

func scope() codec[auth.Scope] {
	names := oneOf(string(auth.PeersRead), string(auth.PeersWrite), string(auth.NodeAdmin))
	return codec[auth.Scope]{
		unit: names.unit, values: names.values,
		parse: func(text string) (auth.Scope, error) {
			_, err := names.parse(text)
			return auth.Scope(text), err
		},
		format: func(s auth.Scope) string { return string(s) },
	}
}

func asIs(text string) string { return text }

// inWords joins words as a sentence has them.
func inWords(list []string, last string) string {
	if len(list) < 2 {
		return strings.Join(list, "")
	}
	return strings.Join(list[:len(list)-1], ", ") + " " + last + " " + list[len(list)-1]
}

// clip keeps hostile input from filling an error or a log.
func clip(text string) string {
	const most = 80
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "..."
}
