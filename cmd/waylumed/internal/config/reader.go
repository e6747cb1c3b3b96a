package config

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/waylume/waylume/cmd/waylumed/internal/words"
)

// given is a value that a source has for a setting.
type given struct {
	origin Origin
	value  value
	// asFile says that the value is the name of the file that has it.
	asFile bool
}

// reader gathers what the sources have, and what is wrong with it.
type reader struct {
	table    []Setting
	byKey    map[string]*Setting
	given    map[string][]given // the weakest first
	bad      map[string]bool    // settings that have a problem already
	problems []Problem
	warnings []Problem
}

func newReader(table []Setting) *reader {
	r := &reader{table: table, byKey: make(map[string]*Setting), given: make(map[string][]given), bad: make(map[string]bool)}
	for i := range table {
		r.byKey[table[i].Key] = &table[i]
	}
	return r
}

func (r *reader) add(key string, at Origin, format string, args ...any) {
	r.problems = append(r.problems, Problem{key, at.Where, fmt.Sprintf(format, args...)})
}

func (r *reader) warn(key string, at Origin, format string, args ...any) {
	r.warnings = append(r.warnings, Problem{key, at.Where, fmt.Sprintf(format, args...)})
}

// find is the setting with a key; asFile, if it is the key of a secret's file.
func (r *reader) find(key string) (s *Setting, asFile bool) {
	if s := r.byKey[key]; s != nil {
		return s, false
	}
	if secret, ok := strings.CutSuffix(key, "_file"); ok {
		if s := r.byKey[secret]; s != nil && s.Secret {
			return s, true
		}
	}
	return nil, false
}

func (r *reader) isSection(key string) bool {
	return slices.ContainsFunc(r.table, func(s Setting) bool { return strings.HasPrefix(s.Key, key+".") })
}

// guess is the key that a wrong one may be meant for: one of the same section, or one of the same name in another.
func (r *reader) guess(wrong string) string {
	section, name := "", wrong
	if i := strings.LastIndexByte(wrong, '.'); i >= 0 {
		section, name = wrong[:i+1], wrong[i+1:]
	}
	var here, elsewhere []string
	for _, s := range r.table {
		keys := []string{s.Key}
		if s.Secret {
			keys = append(keys, s.FileKey())
		}
		for _, key := range keys {
			if rest, ok := strings.CutPrefix(key, section); ok {
				first, _, _ := strings.Cut(rest, ".")
				here = append(here, section+first)
			}
			if strings.HasSuffix("."+key, "."+name) {
				elsewhere = append(elsewhere, key)
			}
		}
	}
	if guess := nearest(wrong[len(section):], trimmed(here, section)); guess != "" {
		return strings.Replace(guess, "(is ", "(is "+section, 1)
	}
	if len(elsewhere) > 0 {
		return fmt.Sprintf(" (is %s meant?)", elsewhere[0])
	}
	return ""
}

func trimmed(list []string, prefix string) []string {
	short := make([]string, len(list))
	for i, item := range list {
		short[i] = strings.TrimPrefix(item, prefix)
	}
	return short
}

// give notes what a source has. A relative path counts from base.
func (r *reader) give(s *Setting, g given, base string) {
	if others := r.given[s.Key]; len(others) > 0 {
		if last := others[len(others)-1]; last.origin.Source == g.origin.Source && last.asFile != g.asFile {
			r.add(s.Key, g.origin, "is given beside its file (%s): give one of them", last.origin)
			r.bad[s.Key] = true
			return
		}
	}
	for i, item := range g.value.items {
		switch path, ok := strings.CutPrefix(item, unixPrefix); {
		case s.sockets && ok && path != "":
			g.value.items[i] = unixPrefix + resolved(path, base)
		case g.asFile || s.Path && !s.sockets:
			g.value.items[i] = resolved(item, base)
		}
	}
	for i := range g.value.tree {
		g.value.tree[i].file = resolved(g.value.tree[i].file, base)
	}
	r.given[s.Key] = append(r.given[s.Key], g)
}

// resolved is a path seen from base.
func resolved(path, base string) string {
	if path == "" || path == words.None || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(base, path)
}
