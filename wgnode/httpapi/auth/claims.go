package auth

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/golang-jwt/jwt/v5"

	"github.com/waylume/waylume/wgnode/httpapi/auth/sign"
)

const (
	minTokenID = 16
	maxTokenID = 128
	// maxSeconds is the last second of the year 9999: no sum of two such overflows.
	maxSeconds = 253402300799
)

var errClaims = errors.New("the token's claims are not as they must be")

// payload is what a token says, read strictly: an object with all of the claims of a token, each once, none beside, each a
// string or an integer.
type payload struct {
	sign.Payload
	jwt.Claims      // nil: golang-jwt wants claims that can be asked, and asks none of a token that is taken apart
	read       bool // they are there: null is no claims, and not read at all
}

// UnmarshalJSON implements [json.Unmarshaler].
func (p *payload) UnmarshalJSON(data []byte) error {
	texts := map[string]*string{
		"sub": &p.Subject, "aud": &p.Audience, "jti": &p.ID, "htm": &p.Method, "path": &p.Path,
		"query": &p.Query, "digest": &p.Digest, "scope": &p.Scope,
	}
	numbers := map[string]*int64{"iat": &p.IssuedAt, "exp": &p.Expires}
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return fmt.Errorf("%w: they are no JSON object", errClaims)
	}
	for d.More() {
		t, err := d.Token()
		name, ok := t.(string)
		if err != nil || !ok {
			return fmt.Errorf("%w: they are no JSON object", errClaims)
		}
		value, err := d.Token()
		if err != nil {
			return fmt.Errorf("%w: they are no JSON object", errClaims)
		}
		if err := take(name, value, texts, numbers); err != nil {
			return err
		}
	}
	if _, err := d.Token(); err != nil {
		return fmt.Errorf("%w: they are no JSON object", errClaims)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: something follows them", errClaims)
	}
	if missing := missing(texts, numbers); len(missing) > 0 {
		return fmt.Errorf("%w: missing: %s", errClaims, strings.Join(missing, ", "))
	}
	p.read = true
	return nil
}

// take puts a claim where it belongs, from which it is taken out: a second of the name is unknown.
func take(name string, value json.Token, texts map[string]*string, numbers map[string]*int64) error {
	if at, ok := texts[name]; ok {
		text, ok := value.(string)
		if !ok {
			return fmt.Errorf("%w: %s is no string", errClaims, name)
		}
		*at = text
		delete(texts, name)
		return nil
	}
	if at, ok := numbers[name]; ok {
		number, _ := value.(json.Number)
		n, err := strconv.ParseInt(string(number), 10, 64)
		if err != nil || n < 0 || n > maxSeconds {
			return fmt.Errorf("%w: %s is no whole number of seconds since 1970", errClaims, name)
		}
		*at = n
		delete(numbers, name)
		return nil
	}
	return fmt.Errorf("%w: %.40q is not one of them, or is there twice", errClaims, name)
}

func missing(texts map[string]*string, numbers map[string]*int64) []string {
	var names []string
	for name := range texts {
		names = append(names, name)
	}
	for name := range numbers {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// check holds the claims that no request is needed for to what they must be, but for the time.
func (p *payload) check() error {
	if err := checkName(p.Subject); err != nil {
		return fmt.Errorf("%w: sub: %w", errClaims, err)
	}
	id := p.ID
	if len(id) < minTokenID || len(id) > maxTokenID {
		return fmt.Errorf("%w: jti has %d bytes: give %d to %d, random ones", errClaims, len(id), minTokenID, maxTokenID)
	}
	return nil
}

// granted returns the scopes that a token asks for and its key may give, in the order of Scopes.
func (p *payload) granted(key []Scope) []Scope {
	asked := strings.Split(p.Scope, " ")
	var granted []Scope
	for _, s := range Scopes() {
		if slices.Contains(key, s) && slices.Contains(asked, string(s)) {
			granted = append(granted, s)
		}
	}
	return granted
}
