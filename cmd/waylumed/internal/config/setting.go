package config

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/waylume/waylume/cmd/waylumed/internal/words"
)

// Setting is one thing that can be decided.
type Setting struct {
	// Key is its path in the file: "api.tls.cert_file".
	Key string
	// Env and Flag are its names in the environment and, without the dashes, on a command line. A Secret has no flag, since every
	// user of a host sees command lines: FileFlag only.
	Env, Flag string
	// Default is what it is by default, as it would be written; DefaultText says it where that depends on the host.
	Default, DefaultText string
	// Doc is a sentence about it, without a full stop.
	Doc string
	// Unit says what a value is. Values are examples or, if the unit says so, all that there are.
	Unit   string
	Values []string
	// List says that it is a list: a sequence in the file, with commas elsewhere, "none" for an empty one.
	List bool
	// Secret says that it is never shown, and may be in a file of its own: see FileKey.
	Secret bool
	// Reloadable says that a process that runs can take it over.
	Reloadable bool
	// Path says that it names a file or a directory, or may: a relative one counts from the file that it is written in.
	Path bool

	kind kind
	// sockets says that what has no unix: before it is no path.
	sockets bool
	bind    binding
	after   func(*Config) // fills in a default that depends on other settings
}

// kind tells apart what is read in another way than as words.
type kind int

const (
	plain kind = iota
	switched
	structured // read from YAML, as it nests
)

// binding connects a setting with its field.
type binding struct {
	set func(*Config, value) []fault
	// get writes the field as set reads it, with secrets as they are if revealed says so.
	get func(c *Config, revealed bool) value
	// copy takes the field over from another configuration.
	copy func(to, from *Config)
}

// value is what is written somewhere for a setting: items, of which a setting that is no list has one.
type value struct {
	items []string
	tree  []keyText // of structured settings
}

func (v value) equal(other value) bool { return reflect.DeepEqual(v, other) }

// fault is what is wrong with a value, and with which part of it: "[1].kid".
type fault struct {
	part string
	line int // in the file, if it is another than the setting's
	err  error
}

// FileKey is the key under which a secret's file is given instead of the secret.
func (s Setting) FileKey() string { return s.Key + "_file" }

// FileEnv is the variable for that.
func (s Setting) FileEnv() string { return s.Env + "_FILE" }

// FileFlag is the flag for that.
func (s Setting) FileFlag() string { return s.Flag + "-file" }

// IsSwitch says that it is true or false, so that its flag needs no value.
func (s Setting) IsSwitch() bool { return s.kind == switched }

type option func(*Setting)

func reloadable(s *Setting) { s.Reloadable = true }
func secretly(s *Setting)   { s.Secret = true }
func inPath(s *Setting)     { s.Path = true }
func bySocket(s *Setting)   { s.Path, s.sockets = true, true }

func examples(values ...string) option { return func(s *Setting) { s.Values = values } }

// derived is a default that follows from others. text says how.
func derived(text string, fill func(*Config)) option {
	return func(s *Setting) { s.DefaultText, s.after = text, fill }
}

// named makes the names of a setting from its key; the section "node" is left out, as the node is what waylumed is about, and the
// flags are then those of 'waylumed up'.
func named(key, def, doc string, options []option) Setting {
	short := strings.TrimPrefix(key, "node.")
	s := Setting{
		Key: key, Default: def, Doc: doc,
		Env:  envPrefix + strings.ToUpper(strings.ReplaceAll(short, ".", "_")),
		Flag: strings.NewReplacer(".", "-", "_", "-").Replace(short),
	}
	for _, o := range options {
		o(&s)
	}
	return s
}

// one is a setting with one value.
func one[T any](key string, field func(*Config) *T, c codec[T], def, doc string, options ...option) Setting {
	s := named(key, def, doc, options)
	s.Unit = c.unit
	if s.Values == nil {
		s.Values = c.values
	}
	if _, ok := any(*new(T)).(bool); ok {
		s.kind = switched
	}
	s.bind = binding{
		set: func(cfg *Config, v value) []fault {
			if len(v.items) != 1 {
				return []fault{{err: errors.New("is a list: give one value")}}
			}
			parsed, err := c.parse(v.items[0])
			if err != nil {
				return []fault{{err: err}}
			}
			*field(cfg) = parsed
			return nil
		},
		get: func(cfg *Config, revealed bool) value {
			if secret, ok := any(*field(cfg)).(Secret); ok && revealed {
				return value{items: []string{secret.text}}
			}
			return value{items: []string{c.format(*field(cfg))}}
		},
		copy: func(to, from *Config) { *field(to) = *field(from) },
	}
	return s
}

// maxItems bounds lists.
const maxItems = 1024

// many is a setting with a list.
func many[T comparable](key string, field func(*Config) *[]T, c codec[T], def, doc string, options ...option) Setting {
	s := named(key, def, doc, options)
	s.Unit, s.List = "list of: "+c.unit, true
	if s.Values == nil {
		s.Values = c.values
	}
	s.bind = binding{
		set: func(cfg *Config, v value) (faults []fault) {
			parsed := []T{}
			if len(v.items) > maxItems {
				return []fault{{err: fmt.Errorf("has %d entries: at most %d are allowed", len(v.items), maxItems)}}
			}
			for i, text := range v.items {
				if text == words.None && len(v.items) == 1 {
					break
				}
				item, err := c.parse(text)
				if err == nil && slices.Contains(parsed, item) {
					err = fmt.Errorf("%q is there twice: leave one out", clip(text))
				}
				if err != nil {
					faults = append(faults, fault{part: fmt.Sprintf("[%d]", i), err: err})
				}
				parsed = append(parsed, item)
			}
			if len(faults) == 0 {
				*field(cfg) = parsed
			}
			return faults
		},
		get: func(cfg *Config, _ bool) value {
			items := make([]string, len(*field(cfg)))
			for i, item := range *field(cfg) {
				items[i] = c.format(item)
			}
			return value{items: items}
		},
		copy: func(to, from *Config) { *field(to) = slices.Clone(*field(from)) },
	}
	return s
}
