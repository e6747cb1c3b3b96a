package httpapi

import (
	"bytes"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
)

// bodyOf is the body of a request. Huma checks it against the schema of T; what a schema does not say, such as that a text is a
// rate, is checked here, so that an answer has all the faults of either kind at once.
type bodyOf[T any] struct {
	Body  json.RawMessage
	value T
}

// undecoded is the value of a fault that Resolve has found: it gives way to one that huma has found at the same place.
type undecoded struct{}

// Resolve decodes the body, and returns all that stands in the way.
func (b *bodyOf[T]) Resolve(huma.Context) []error {
	if len(b.Body) == 0 {
		return nil // huma has found it missing, or not to be JSON
	}
	return b.decode(b.Body)
}

func (b *bodyOf[T]) decode(body []byte) []error {
	var faults []error
	examine(&faults, "body", body, reflect.TypeFor[T]())
	if err := json.Unmarshal(body, &b.value); err != nil && len(faults) == 0 {
		faults = append(faults, fault("body", err.Error()))
	}
	return faults
}

func fault(at, message string) error {
	return &huma.ErrorDetail{Location: at, Message: message, Value: undecoded{}}
}

// examine finds every part of a JSON text that cannot be decoded into its part of a type.
func examine(faults *[]error, at string, text json.RawMessage, t reflect.Type) {
	if len(*faults) > maxFaults || string(bytes.TrimSpace(text)) == "null" {
		return
	}
	pointer := reflect.New(t)
	_, ownJSON := reflect.TypeAssert[json.Unmarshaler](pointer)
	_, ownText := reflect.TypeAssert[encoding.TextUnmarshaler](pointer)
	if !ownJSON && !ownText {
		switch t.Kind() {
		case reflect.Pointer:
			examine(faults, at, text, t.Elem())
			return
		case reflect.Struct:
			examineObject(faults, at, text, fieldsOf(t))
			return
		case reflect.Slice:
			var items []json.RawMessage
			if json.Unmarshal(text, &items) == nil { // else it is huma's to say what is expected
				for i, item := range items {
					examine(faults, fmt.Sprintf("%s[%d]", at, i), item, t.Elem())
				}
				return
			}
		case reflect.Map:
			var members map[string]json.RawMessage
			if json.Unmarshal(text, &members) == nil {
				for _, name := range slices.Sorted(maps.Keys(members)) {
					examine(faults, at+"."+name, members[name], t.Elem())
				}
				return
			}
		}
	}
	err := json.Unmarshal(text, pointer.Interface())
	if moment, ok := reflect.TypeAssert[*time.Time](pointer); ok && err == nil && !writable(*moment) {
		err = errors.New("is out of range: the year must be 0000 to 9999 in UTC")
	}
	if err != nil {
		message := err.Error()
		if _, rest, ok := strings.Cut(message, "json: "); ok {
			message = rest
		}
		*faults = append(*faults, fault(at, inWords(message)))
	}
}

// writable reports whether a time can be written as RFC 3339 has it, also in UTC.
func writable(t time.Time) bool { return t.UTC().Year() >= 0 && t.UTC().Year() <= 9999 }

func examineObject(faults *[]error, at string, text json.RawMessage, fields map[string]reflect.Type) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(text, &members); err != nil {
		*faults = append(*faults, fault(at, "expected object"))
		return
	}
	for _, name := range slices.Sorted(maps.Keys(members)) {
		if t, ok := fields[name]; ok {
			examine(faults, at+"."+name, members[name], t)
			continue
		}
		for known := range fields {
			if strings.EqualFold(known, name) { // which huma and encoding/json would take for the same
				*faults = append(*faults, fault(at+"."+name, fmt.Sprintf("unexpected property: write it as %q", known)))
			}
		}
	}
}

// fieldsOf are the types of a struct's fields, by their names as JSON.
func fieldsOf(t reflect.Type) map[string]reflect.Type {
	fields := make(map[string]reflect.Type)
	for _, f := range reflect.VisibleFields(t) {
		if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "" && name != "-" {
			fields[name] = f.Type
		}
	}
	return fields
}

// merged is what a merge patch makes of a value (RFC 7396, section 2).
func merged[T any](value T, patch []byte) (T, error) {
	var after T
	before, err := json.Marshal(value)
	if err != nil {
		return after, err
	}
	var target, change any
	if err := number(before, &target); err != nil {
		return after, err
	}
	if err := number(patch, &change); err != nil {
		return after, err
	}
	text, err := json.Marshal(merge(target, change))
	if err != nil {
		return after, err
	}
	return after, json.Unmarshal(text, &after)
}

// number decodes without rounding numbers.
func number(text []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	return d.Decode(into)
}

func merge(target, patch any) any {
	change, ok := patch.(map[string]any)
	if !ok {
		return patch
	}
	object, ok := target.(map[string]any)
	if !ok {
		object = make(map[string]any)
	}
	for name, value := range change {
		if value == nil {
			delete(object, name)
		} else {
			object[name] = merge(object[name], value)
		}
	}
	return object
}
