package redact

import (
	"encoding"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"time"
)

const (
	// maxDepth is how deep values are followed into each other, and maxElements how many of a slice or a map are shown.
	maxDepth    = 8
	maxElements = 1000
)

// attr takes out of an attribute what the mode says.
func (r *Redactor) attr(mode Mode, within class, a slog.Attr) slog.Attr {
	if r.verbatim[fold(a.Key)] {
		return a
	}
	return slog.Attr{Key: a.Key, Value: r.value(mode, r.classOf(a.Key, within), a.Value.Resolve())}
}

func (r *Redactor) value(mode Mode, c class, v slog.Value) slog.Value {
	switch v.Kind() {
	case slog.KindString:
		return slog.StringValue(r.string(mode, c, v.String()))
	case slog.KindGroup:
		group := v.Group()
		attrs := make([]slog.Attr, len(group))
		for i, a := range group {
			attrs[i] = r.attr(mode, c, a)
		}
		return slog.GroupValue(attrs...)
	case slog.KindAny:
		return slog.AnyValue(r.any(mode, c, v.Any(), 0))
	case slog.KindInt64, slog.KindUint64, slog.KindFloat64:
		if c == account || c == naming {
			return slog.StringValue(r.word(mode, c, v.String()))
		}
	}
	return v // a number, a time: nobody's
}

// string takes out of a text of a class what the mode says.
func (r *Redactor) string(mode Mode, c class, text string) string {
	if c == account || c == naming {
		return r.word(mode, c, text)
	}
	found := r.text(mode, text)
	if mode == Strict && c == other && found != "" && found != "[key]" && found != "[address]" {
		return "[text]"
	}
	return found
}

// any makes of a value what a handler can write as it is: texts, numbers, times, and slices and maps of them.
func (r *Redactor) any(mode Mode, c class, v any, depth int) any {
	switch t := v.(type) {
	case nil:
		return nil
	case time.Time, time.Duration:
		return v
	case slog.LogValuer:
		return r.resolved(mode, c, slog.AnyValue(t).Resolve(), depth)
	case error:
		return r.string(mode, max(c, safe), spoken(t.Error))
	case fmt.Stringer:
		return r.string(mode, enumerated(c, v), spoken(t.String))
	case encoding.TextMarshaler:
		return r.string(mode, enumerated(c, v), spoken(func() string {
			text, err := t.MarshalText()
			if err != nil {
				return err.Error()
			}
			return string(text)
		}))
	}
	if depth == maxDepth {
		return "[deep]"
	}
	return r.reflected(mode, c, reflect.ValueOf(v), depth+1)
}

// resolved is any for what a LogValuer has become.
func (r *Redactor) resolved(mode Mode, c class, v slog.Value, depth int) any {
	if v.Kind() != slog.KindGroup {
		if depth == maxDepth {
			return "[deep]"
		}
		return r.any(mode, c, v.Any(), depth+1)
	}
	fields := make(map[string]any)
	for _, a := range v.Group() {
		fields[a.Key] = r.resolved(mode, r.classOf(a.Key, c), a.Value.Resolve(), depth+1)
	}
	return fields
}

// enumerated takes the word of one of several constants for harmless.
func enumerated(c class, v any) class {
	if k := reflect.TypeOf(v).Kind(); c == other && k >= reflect.Int && k <= reflect.Uint64 {
		return safe
	}
	return c
}

// spoken calls a method of a value that may be a nil pointer.
func spoken(text func() string) (s string) {
	defer func() {
		if p := recover(); p != nil {
			s = "[panic]"
		}
	}()
	return text()
}

func (r *Redactor) reflected(mode Mode, c class, v reflect.Value, depth int) any {
	switch v.Kind() {
	case reflect.Bool:
		return v.Bool()
	case reflect.String:
		return r.string(mode, c, v.String())
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			return nil
		}
		return r.any(mode, c, v.Elem().Interface(), depth)
	case reflect.Slice, reflect.Array:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return fmt.Sprintf("[%d bytes]", v.Len())
		}
		list := make([]any, 0, min(v.Len(), maxElements))
		for i := range min(v.Len(), maxElements) {
			list = append(list, r.any(mode, c, v.Index(i).Interface(), depth))
		}
		return list
	case reflect.Map:
		return r.mapped(mode, c, v, depth)
	case reflect.Struct:
		fields := make(map[string]any)
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() {
				fields[f.Name] = r.any(mode, r.classOf(f.Name, c), v.Field(i).Interface(), depth)
			}
		}
		return fields
	case reflect.Chan, reflect.Func, reflect.UnsafePointer, reflect.Invalid:
		return "[" + strings.ToLower(v.Kind().String()) + "]"
	}
	if c == account || c == naming {
		return r.word(mode, c, fmt.Sprint(v.Interface()))
	}
	return v.Interface()
}

// mapped has the keys of a map searched, too; in strict, those that are not harmless are numbered.
func (r *Redactor) mapped(mode Mode, c class, v reflect.Value, depth int) any {
	fields := make(map[string]any)
	for it := v.MapRange(); it.Next() && len(fields) < maxElements; {
		key := fmt.Sprint(r.any(mode, max(c, safe), it.Key().Interface(), depth))
		inner := c
		if text := fmt.Sprint(it.Key().Interface()); c != account && c != naming {
			inner = r.classOf(text, c)
			if mode == Strict && inner == other {
				key = "[text]"
			}
		}
		for base, n := key, 2; ; n++ {
			if _, taken := fields[key]; !taken {
				break
			}
			key = fmt.Sprintf("%s %d", base, n)
		}
		fields[key] = r.any(mode, inner, it.Value().Interface(), depth)
	}
	return fields
}
