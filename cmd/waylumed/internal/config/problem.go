package config

import (
	"fmt"
	"strings"
)

// Source is where a value comes from.
type Source string

// The sources, each of which beats those before it.
const (
	FromDefault     Source = "default"
	FromFile        Source = "file"
	FromDotenv      Source = ".env"
	FromEnvironment Source = "environment"
	FromFlag        Source = "flag"
)

// Origin is where a value was written.
type Origin struct {
	Source Source `json:"source"`
	// Where is its place in words: "waylumed.yaml:12", "WAYLUME_LISTEN_PORT", "--listen-port".
	Where string `json:"where,omitempty"`
	// SecretFile is the file that the value itself is in, if the source only names it.
	SecretFile string `json:"secret_file,omitempty"`

	file string // of which Where is a line
}

// at is another line of the same file.
func (o Origin) at(line int) Origin {
	if o.file != "" && line > 0 {
		o.Where = fmt.Sprintf("%s:%d", o.file, line)
	}
	return o
}

// String is the place in words.
func (o Origin) String() string {
	if o.Where == "" {
		return string(o.Source)
	}
	return o.Where
}

// Problem is one thing that is wrong.
type Problem struct {
	// Key is the setting, "api.tls.key_file", or the part of one, "api.auth.keys[1].kid"; empty if it is about none.
	Key string `json:"key,omitempty"`
	// Where is the place of what is wrong, as [Origin] has it.
	Where string `json:"where,omitempty"`
	// Text says what is wrong, and what to do.
	Text string `json:"text"`
}

// String is one line for a person.
func (p Problem) String() string {
	parts := make([]string, 0, 3)
	for _, part := range []string{p.Where, p.Key, p.Text} {
		if part != "" {
			parts = append(parts, part)
		}
	}
	return strings.Join(parts, ": ")
}

// Error names everything that is wrong with a configuration.
type Error struct{ Problems []Problem }

// Error lists all problems, one to a line.
func (e *Error) Error() string {
	if len(e.Problems) == 1 {
		return "the configuration is wrong: " + e.Problems[0].String()
	}
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = "\n  " + p.String()
	}
	return fmt.Sprintf("%d things are wrong with the configuration:%s", len(e.Problems), strings.Join(lines, ""))
}

// nearest is the word that is most like a wrong one, in words; empty if none is.
func nearest(wrong string, words []string) string {
	best, least := "", len(wrong)/3+1
	if len(wrong) > 100 {
		return ""
	}
	for _, word := range words {
		if d := distance(strings.ToLower(wrong), strings.ToLower(word)); d <= least && (best == "" || d < distance(wrong, best)) {
			best = word
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf(" (is %s meant?)", best)
}

// distance is how many letters must be put in, left out or changed to make one word of another (V. I. Levenshtein, 1965).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}
