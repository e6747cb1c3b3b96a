package v1

import "encoding/json"

// Field is a member of a JSON merge patch (RFC 7396): left out, which is its zero value and changes nothing; null, which
// takes away what is there; or a value.
type Field[T any] struct {
	// Given reports that the member is not left out.
	Given bool
	// Value is nil for null.
	Value *T
}

// Set is a member with a value.
func Set[T any](value T) Field[T] { return Field[T]{Given: true, Value: &value} }

// Null is a member that takes away what is there.
func Null[T any]() Field[T] { return Field[T]{Given: true} }

// IsZero reports that the member is left out.
func (f Field[T]) IsZero() bool { return !f.Given }

// MarshalJSON writes the value or null.
func (f Field[T]) MarshalJSON() ([]byte, error) { return json.Marshal(f.Value) }

// UnmarshalJSON reads a value or null.
func (f *Field[T]) UnmarshalJSON(data []byte) error {
	f.Given, f.Value = true, nil
	return json.Unmarshal(data, &f.Value)
}
