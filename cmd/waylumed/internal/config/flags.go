package config

import (
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

// FileFlag is the flag that names the file.
const FileFlag = "config"

// Flags are the settings as flags of a command.
type Flags struct {
	// File is what --config says.
	File  string
	set   *pflag.FlagSet
	table []Setting
}

// Register adds a flag for each setting, and --config for the file. stateDir is as for [Settings].
func Register(set *pflag.FlagSet, stateDir string) *Flags {
	f := &Flags{set: set, table: Settings(stateDir)}
	set.StringVar(&f.File, FileFlag, "", "read settings from `file` (default as above)")
	for _, s := range f.table {
		if s.Secret {
			set.Var(&flagWords{kind: "file"}, s.FileFlag(), s.Doc+", in a `file` of mode 0600 or 0400")
			continue
		}
		set.Var(&flagWords{list: s.List, text: s.Default, kind: s.argument()}, s.Flag, s.usage())
		if s.IsSwitch() {
			set.Lookup(s.Flag).NoOptDefVal = "true"
		}
	}
	return f
}

// usage is the text about a flag.
func (s Setting) usage() string {
	if s.DefaultText == "" {
		return s.Doc
	}
	return s.Doc + " (default: " + s.DefaultText + ")"
}

// argument is the name of a flag's value in its help.
func (s Setting) argument() string {
	unit := strings.TrimPrefix(s.Unit, "list of: ")
	name, plural := "word", "words"
	for _, is := range []struct{ begins, name, plural string }{
		{"true or false", "bool", ""}, {"address or prefix", "prefix", "prefixes"}, {"IP address", "address", "addresses"},
		{"host:port", "address", "addresses"}, {"host or", "host", ""}, {"directory", "directory", ""}, {"file", "file", ""},
		{"duration", "duration", ""}, {"rate", "rate", ""}, {"amount", "amount", ""}, {"URL", "URL", ""}, {"mode", "mode", ""},
		{"name", "name", ""}, {"UDP port", "port", ""}, {"TCP port", "port", "ports"}, {"user ID", "ID", "IDs"}, {"peers:read", "scope",
			"scopes"},
	} {
		if strings.HasPrefix(unit, is.begins) && s.Unit != "file or memory" {
			name, plural = is.name, is.plural
			break
		}
	}
	if strings.Contains(unit, " to ") && name == "word" {
		name = "number"
	}
	if s.List {
		return plural
	}
	return name
}

// Complete calls add for each flag with what can stand behind it.
func (f *Flags) Complete(add func(flag string, values []string, isPath bool)) {
	add(FileFlag, nil, true)
	for _, s := range f.table {
		if s.Secret {
			add(s.FileFlag(), nil, true)
		} else {
			add(s.Flag, slices.Clone(s.Values), s.Path)
		}
	}
}

// readFlags reads those that were given.
func (r *reader) readFlags(f *Flags, base string) {
	if f == nil {
		return
	}
	for i := range r.table {
		s := &r.table[i]
		name := s.Flag
		if s.Secret {
			name = s.FileFlag()
		}
		if flag := f.set.Lookup(name); flag != nil && flag.Changed {
			r.giveText(s, flag.Value.(*flagWords).given, s.Secret, Origin{Source: FromFlag, Where: "--" + name}, base)
		}
	}
}

// flagWords keeps what a flag was given as it was written: what is wrong with it is said with everything else.
type flagWords struct {
	list  bool
	kind  string
	text  string
	given []string
}

var _ pflag.Value = (*flagWords)(nil)

// String is the default, until the flag is given.
func (w *flagWords) String() string { return w.text }

// Set notes a value. A list takes several, else the last one counts.
func (w *flagWords) Set(text string) error {
	if !w.list {
		w.given = nil
	}
	w.given = append(w.given, text)
	w.text = strings.Join(w.given, ",")
	return nil
}

// Type is the name of the value in the help.
func (w *flagWords) Type() string { return w.kind }
