package config

import (
	"fmt"
	"strings"
)

// parseDotenv reads a file of variables: NAME=value on each line, with or without "export" before it, and comments after #. A
// value in
// single quotes is as it stands; in double quotes \n, \", \\ and \$ are an end of line, a quote, a backslash and a dollar.
// Nothing is
// put in place of a $. The usual library for this links os/exec, which no part of waylumed may. The error names the line and has
// nothing of it, as that may be a secret.
func parseDotenv(text string) (map[string]string, error) {
	env := make(map[string]string)
	n := 0
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		if rest, ok := strings.CutPrefix(line, "export "); ok {
			line = strings.TrimSpace(rest)
		}
		name, value, ok := strings.Cut(line, "=")
		name = strings.TrimSpace(name)
		if !ok || !isVariable(name) {
			return nil, fmt.Errorf("line %d is no variable: write NAME=value, with letters, digits and _ in the name", n)
		}
		value, ok = unquoted(strings.TrimSpace(value))
		if !ok {
			return nil, fmt.Errorf("line %d has a quote without its other one, or something behind that: mend it, on one line", n)
		}
		env[name] = value
	}
	return env, nil
}

func isVariable(name string) bool {
	for i, c := range []byte(name) {
		if c != '_' && !('a' <= c|0x20 && c|0x20 <= 'z') && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return name != ""
}

// unquoted is what a value means; not ok if its quotes do not end.
func unquoted(value string) (string, bool) {
	if value == "" {
		return "", true
	}
	quote := value[0]
	if quote != '"' && quote != '\'' {
		if before, _, ok := strings.Cut(" "+value, " #"); ok {
			value = strings.TrimSpace(before)
		}
		return value, true
	}
	var b strings.Builder
	for i := 1; i < len(value); i++ {
		switch c := value[i]; {
		case c == quote:
			rest := strings.TrimSpace(value[i+1:])
			return b.String(), rest == "" || rest[0] == '#'
		case c == '\\' && quote == '"' && i+1 < len(value) && strings.IndexByte(`n"\$`, value[i+1]) >= 0:
			i++
			if value[i] == 'n' {
				b.WriteByte('\n')
			} else {
				b.WriteByte(value[i])
			}
		default:
			b.WriteByte(c)
		}
	}
	return "", false
}
