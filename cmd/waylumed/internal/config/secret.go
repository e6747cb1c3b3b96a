package config

import (
	"crypto/subtle"
	"fmt"
	"log/slog"
)

// hidden is what stands in place of a secret.
const hidden = "(hidden)"

// Secret is a text that no log, error or listing shows.
type Secret struct{ text string }

// NewSecret hides a text.
func NewSecret(text string) Secret { return Secret{text} }

// Reveal is the text.
func (s Secret) Reveal() string { return s.text }

// Equal compares with another secret in constant time, but for their lengths.
func (s Secret) Equal(other Secret) bool {
	return subtle.ConstantTimeCompare([]byte(s.text), []byte(other.text)) == 1
}

// Format writes the secret hidden, whatever the verb.
func (s Secret) Format(f fmt.State, _ rune) { fmt.Fprint(f, s.String()) }

// String is empty if the secret is, and says otherwise only that there is one.
func (s Secret) String() string {
	if s.text == "" {
		return ""
	}
	return hidden
}

// MarshalText hides the secret in JSON and YAML.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// LogValue hides the secret in a log.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }
