package idempotency

import (
	"errors"
	"fmt"
	"strings"
)

const (
	// Header carries the key of a request.
	Header = "Idempotency-Key"
	// ReplayedHeader is "true" in an answer that was given before.
	ReplayedHeader = "Idempotency-Replayed"
	// MaxKeyLen is how many characters a key may have.
	MaxKeyLen = 255
)

// parseKey reads the header: a string of RFC 9651 in quotes, as the draft has it, or the same without quotes, as most clients
// send it.
func parseKey(values []string) (key string, given bool, err error) {
	switch len(values) {
	case 0:
		return "", false, nil
	case 1:
	default:
		return "", true, errors.New("it is given more than once: give it once")
	}
	key = values[0]
	if strings.HasPrefix(key, `"`) {
		if key, err = unquote(key); err != nil {
			return "", true, err
		}
	}
	if len(key) == 0 || len(key) > MaxKeyLen {
		return "", true, fmt.Errorf("it has %d characters: give 1 to %d, best a UUID", len(key), MaxKeyLen)
	}
	for i := range len(key) {
		if key[i] <= ' ' || key[i] > '~' {
			return "", true, fmt.Errorf("character %d is not visible ASCII: give letters, digits and punctuation, best a UUID", i+1)
		}
	}
	return key, true, nil
}

// unquote reads a string of RFC 9651, section 4.2.5, with no parameters after it.
func unquote(s string) (string, error) {
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"' && i == len(s)-1:
			return b.String(), nil
		case c == '"':
			return "", errors.New("something follows the closing quote: give the key alone")
		case c == '\\' && i+1 < len(s) && (s[i+1] == '"' || s[i+1] == '\\'):
			i++
			b.WriteByte(s[i])
		case c == '\\':
			return "", errors.New(`a backslash stands before neither " nor \: leave it out`)
		default:
			b.WriteByte(c)
		}
	}
	return "", errors.New("the closing quote is missing: add it, or leave out both")
}
