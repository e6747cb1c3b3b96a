package config

import (
	"strings"

	"github.com/waylume/waylume/cmd/waylumed/internal/words"
)

// Change is a setting that two configurations have otherwise.
type Change struct {
	Key string `json:"key"`
	// Old and New are as a person writes them; of a secret, whether there is one.
	Old string `json:"old"`
	New string `json:"new"`
	// Reloadable says that a process that runs can take it over; otherwise it counts from the next start.
	Reloadable bool `json:"reloadable"`
}

// Diff says what is different, in the order of the table. Files other than those of secrets are not compared: a certificate under
// the same name is no change.
func Diff(old, new Config) []Change {
	var changes []Change
	for _, s := range Settings("") {
		if s.bind.get(&old, true).equal(s.bind.get(&new, true)) {
			continue
		}
		changes = append(changes, Change{s.Key, s.text(&old), s.text(&new), s.Reloadable})
	}
	return changes
}

// Merge is what a process runs with that took over what it can: old, with those settings of new that are reloadable.
func Merge(old, new Config) Config {
	merged := old
	for _, s := range Settings("") {
		if s.Reloadable {
			s.bind.copy(&merged, &new)
		}
	}
	return merged
}

// Reload loads anew while a process runs with l, and says what that changes. The result is what the process then runs with: l,
// with
// what is reloadable of what was loaded. If anything is wrong with the new settings, or with that mixture of them and of those
// that
// wait for a restart, the error is an [*Error], and nothing should be changed.
func (l *Loaded) Reload(opts Options) (*Loaded, []Change, error) {
	next, err := Load(opts)
	if err != nil {
		return nil, nil, err
	}
	changes := Diff(l.Config, next.Config)
	merged := &Loaded{Merge(l.Config, next.Config), next.File, make(map[string]Origin), next.Warnings}
	r := newReader(Settings(""))
	for _, s := range r.table {
		merged.Origins[s.Key] = l.Origins[s.Key]
		if s.Reloadable {
			merged.Origins[s.Key] = next.Origins[s.Key]
		}
	}
	r.check(&merged.Config, merged.Origins, opts.now())
	for i := range r.problems {
		r.problems[i].Text += " (until a restart, since what else has changed counts from then)"
	}
	if len(r.problems) > 0 {
		return nil, nil, &Error{r.problems}
	}
	return merged, changes, nil
}

// text is a setting on one line, hidden if it is secret.
func (s Setting) text(c *Config) string {
	v := s.bind.get(c, false)
	items := v.items
	for _, k := range v.tree {
		items = append(items, k.kid)
	}
	if len(items) == 0 {
		return words.None
	}
	return strings.Join(items, ", ")
}
