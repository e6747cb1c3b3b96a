package sign

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// ErrQuery says that a query cannot be read, so that no two programs need agree on what it says.
var ErrQuery = errors.New("the query cannot be read")

// Query returns a query string, without its question mark, in the form that a token has: what a program that reads
// application/x-www-form-urlencoded finds in it, spelt in one way.
//
// It is split at each '&', and empty pieces are dropped; a piece is a name and, after the first '=', a value; in both, '+' is a
// space and %XX a byte. Each is then written with every byte as %XX, in capitals, but for A-Z a-z 0-9 - . _ ~ (RFC 3986,
// section 2.3). The pieces are sorted by the name so written, those of the same name staying in their order, and joined as
// name=value with '&'. A '%' without two hexadecimal digits, and a ';', are ErrQuery.
func Query(raw string) (string, error) {
	if raw == "" {
		return "", nil
	}
	type pair struct{ name, value string }
	var pairs []pair
	for piece := range strings.SplitSeq(raw, "&") {
		if piece == "" {
			continue
		}
		if strings.Contains(piece, ";") {
			return "", fmt.Errorf("%w: it has a semicolon: write %%3B", ErrQuery)
		}
		name, value, _ := strings.Cut(piece, "=")
		var err error
		if name, err = spell(name); err != nil {
			return "", err
		}
		if value, err = spell(value); err != nil {
			return "", err
		}
		pairs = append(pairs, pair{name, value})
	}
	slices.SortStableFunc(pairs, func(a, b pair) int { return strings.Compare(a.name, b.name) })
	var b strings.Builder
	for i, p := range pairs {
		if i > 0 {
			b.WriteByte('&')
		}
		b.WriteString(p.name)
		b.WriteByte('=')
		b.WriteString(p.value)
	}
	return b.String(), nil
}

// spell writes a piece of a query anew.
func spell(escaped string) (string, error) {
	s, err := url.QueryUnescape(escaped)
	if err != nil {
		return "", fmt.Errorf("%w: it has a %% without two hexadecimal digits: write %%25", ErrQuery)
	}
	// QueryEscape leaves exactly the unreserved characters as they are, but for the space.
	return strings.ReplaceAll(url.QueryEscape(s), "+", "%20"), nil
}

// Digest returns the SHA-256 digest of a body in the form that a token has: base64url without padding (RFC 4648, section 5). A
// request without a body has the digest of no bytes.
func Digest(body []byte) string {
	sum := sha256.Sum256(body)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}
