package isolation

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// UnmarshalJSON reads a policy as its field tags describe it:
//
//	{"allow": [{"name": "dns", "from": {"accounts": ["a"]}, "to": {"prefixes": ["10.0.0.1/32"]},
//	            "protocol": "udp", "ports": ["53", "8000-8080"]}],
//	 "deny":  [{"to": {"prefixes": ["198.51.100.0/24"]}}]}
//
// It refuses what would make a rule wider than its author meant: unknown fields, a field given twice, and null. It does
// not [Policy.Validate].
func (p *Policy) UnmarshalJSON(data []byte) error {
	type plain Policy
	return decodeStrict(data, (*plain)(p), "policy")
}

// UnmarshalJSON reads a rule with the same strictness as [Policy.UnmarshalJSON].
func (r *Rule) UnmarshalJSON(data []byte) error {
	type plain Rule
	return decodeStrict(data, (*plain)(r), "rule")
}

// UnmarshalJSON reads a match with the same strictness as [Policy.UnmarshalJSON].
func (m *Match) UnmarshalJSON(data []byte) error {
	type plain Match
	return decodeStrict(data, (*plain)(m), "match")
}

// decodeStrict replaces *v by what data says, or leaves it alone.
func decodeStrict[T any](data []byte, v *T, what string) error {
	if err := checkFields(data); err != nil {
		return fmt.Errorf("isolation: %s: %w", what, err)
	}
	var fresh T
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&fresh); err != nil {
		return fmt.Errorf("isolation: %s: %w", what, err)
	}
	if d.More() {
		return fmt.Errorf("isolation: %s: data follows it", what)
	}
	*v = fresh
	return nil
}

// checkFields refuses null, and a field that one object has twice; deeper objects have decoders of their own or, labels,
// are looked at by the walk.
func checkFields(data []byte) error {
	d := json.NewDecoder(bytes.NewReader(data))
	var open []map[string]bool // per open object its keys, nil for an array
	key := true                // the next token of an object is a key
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		object := len(open) > 0 && open[len(open)-1] != nil
		if object && key {
			if name, ok := token.(string); ok {
				if len(open) == 1 { // a field's name, which package json matches in any case of letters
					name = strings.ToLower(strings.ToUpper(name))
				}
				if open[len(open)-1][name] {
					return fmt.Errorf("field %.40q is there twice", name)
				}
				open[len(open)-1][name] = true
				key = false
				continue
			}
		}
		key = true
		switch token {
		case nil:
			return errors.New("null is refused, as it would match anything: leave the field out if that is meant")
		case json.Delim('{'):
			open = append(open, map[string]bool{})
		case json.Delim('['):
			open = append(open, nil)
		case json.Delim('}'), json.Delim(']'):
			open = open[:len(open)-1]
		}
	}
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
