package config

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Shown is one setting as it is, with its secrets hidden.
type Shown struct {
	Key string `json:"key"`
	// Value is a text, a list of texts, or for keys a list of objects.
	Value any `json:"value"`
	Origin

	text string
}

// ShowSchema names the form of what WriteJSON writes.
const ShowSchema = "waylume.config/v1"

// Show is every setting, in the order of the table, and where it comes from.
func (l *Loaded) Show() []Shown {
	var all []Shown
	for _, s := range Settings("") {
		v := s.bind.get(&l.Config, false)
		shown := Shown{Key: s.Key, Origin: l.Origins[s.Key], text: s.text(&l.Config)}
		switch {
		case s.kind == structured:
			keys := []map[string]any{}
			for _, k := range v.tree {
				keys = append(keys, k.object())
			}
			shown.Value = keys
		case s.List:
			shown.Value = v.items
		default:
			shown.Value = v.items[0]
		}
		all = append(all, shown)
	}
	return all
}

func (k keyText) object() map[string]any {
	o := map[string]any{"kid": k.kid, "alg": k.alg, "scopes": k.scopes}
	for name, text := range map[string]string{"file": k.file, "value": k.value, "not_after": k.notAfter} {
		if text != "" {
			o[name] = text
		}
	}
	return o
}

// WriteJSON writes one object: "schema", "file", "settings" and "warnings".
func (l *Loaded) WriteJSON(w io.Writer) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	return encoder.Encode(struct {
		Schema   string    `json:"schema"`
		File     string    `json:"file,omitempty"`
		Settings []Shown   `json:"settings"`
		Warnings []Problem `json:"warnings,omitempty"`
	}{ShowSchema, l.File, l.Show(), l.Warnings})
}

// WriteText writes a line for each setting.
func (l *Loaded) WriteText(w io.Writer) error {
	all := l.Show()
	key, val := 0, 0
	texts := make([]string, len(all))
	for i, s := range all {
		texts[i] = s.text
		key = max(key, len(s.Key))
		if len(texts[i]) <= 40 {
			val = max(val, len(texts[i]))
		}
	}
	for i, s := range all {
		where := s.Origin.String()
		if s.SecretFile != "" {
			where += ", in " + s.SecretFile
		}
		if _, err := fmt.Fprintf(w, "%-*s  %-*s  %s\n", key, s.Key, val, texts[i], where); err != nil {
			return err
		}
	}
	for _, p := range l.Warnings {
		if _, err := fmt.Fprintf(w, "warning: %s\n", p); err != nil {
			return err
		}
	}
	return nil
}

// WriteYAML writes a file that [Load] reads to the same configuration, but for secrets that have no file of their own: in place
// of
// such a one stands what Load refuses.
func (l *Loaded) WriteYAML(w io.Writer) error {
	t := treeWriter{w: w}
	for _, s := range l.Show() {
		key := s.Key
		val := s.Value
		if s.SecretFile != "" {
			key, val = s.Key+"_file", s.SecretFile
		}
		t.line(key, "%s  # %s", flow(val), strings.ReplaceAll(s.Origin.String(), "\n", " "))
	}
	return t.err
}

// treeWriter writes settings one after the other, with the sections that they are in.
type treeWriter struct {
	w       io.Writer
	section []string
	err     error
}

func (t *treeWriter) printf(format string, args ...any) {
	if t.err == nil {
		_, t.err = fmt.Fprintf(t.w, format, args...)
	}
}

// enter writes the names of the sections that a key is in, where they are not those that the last one was in, and returns its
// own.
func (t *treeWriter) enter(key string) (indent, name string) {
	parts := strings.Split(key, ".")
	section := parts[:len(parts)-1]
	for i, part := range section {
		if i < len(t.section) && t.section[i] == part {
			continue
		}
		t.section = append(t.section[:min(i, len(t.section)):min(i, len(t.section))], part)
		if i == 0 {
			t.printf("\n")
		}
		t.printf("%s%s:\n", strings.Repeat("  ", i), part)
	}
	t.section = t.section[:len(section)]
	return strings.Repeat("  ", len(section)), parts[len(parts)-1]
}

func (t *treeWriter) line(key, format string, args ...any) {
	indent, name := t.enter(key)
	t.printf("%s%s: %s\n", indent, name, fmt.Sprintf(format, args...))
}

// flow writes a value in YAML on one line.
func flow(v any) string {
	var node yaml.Node
	if err := node.Encode(v); err != nil {
		panic(err) // texts, lists and maps of them are all there is
	}
	style(&node)
	text, err := yaml.Marshal(&node)
	if err != nil {
		panic(err)
	}
	return strings.TrimSpace(string(text))
}

// style puts a tree on one line. Numbers and truths are texts here, and are written as a person does, without quotes.
func style(node *yaml.Node) {
	node.Style = yaml.FlowStyle
	if node.Kind == yaml.ScalarNode {
		node.Style = 0
		switch {
		case strings.ContainsAny(node.Value, "\n\r\t") || node.Value == "":
			node.Style = yaml.DoubleQuotedStyle
		case node.Value != "~" && !strings.EqualFold(node.Value, "null"):
			node.Tag = ""
		}
	}
	for _, inner := range node.Content {
		style(inner)
	}
}
