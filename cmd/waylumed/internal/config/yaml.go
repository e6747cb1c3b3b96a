package config

import (
	"bytes"
	"errors"
	"io"
	"iter"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxFile is the most that is read of a file, in bytes.
const maxFile = 1 << 20

// readYAML reads the text of a file. base is what relative paths in it count from.
func (r *reader) readYAML(data []byte, file, base string) {
	whole := Origin{Source: FromFile, Where: file, file: file}
	if len(data) > maxFile {
		r.add("", whole, "is longer than %d bytes: nobody decides that much", maxFile)
		return
	}
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var document yaml.Node
	if err := decoder.Decode(&document); errors.Is(err, io.EOF) {
		return // nothing but comments
	} else if err != nil {
		what := strings.TrimPrefix(err.Error(), "yaml: ")
		if strings.Contains(what, "anchor") { // which it names, and which may be a secret that begins with a star
			what = "a value begins with * and names no anchor: put it in quotes"
		}
		r.add("", whole, "is not YAML: %s", clip(what))
		return
	}
	if err := decoder.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		r.add("", whole, "has more than one document, or what follows the first is not YAML: leave out what begins with ---")
		return
	}
	root := document.Content[0]
	if root.Kind == yaml.ScalarNode && root.Tag == "!!null" {
		return
	}
	if root.Kind != yaml.MappingNode {
		r.add("", whole.at(root.Line), "is no mapping: write settings as 'name: value'")
		return
	}
	r.readSection(root, "", base, whole)
}

// readSection reads a mapping whose keys follow prefix.
func (r *reader) readSection(node *yaml.Node, prefix, base string, file Origin) {
	for name, content := range r.pairs(node, strings.TrimSuffix(prefix, "."), file) {
		key, at := prefix+name.Value, file.at(name.Line)
		setting, asFile := r.find(key)
		switch {
		case setting != nil && empty(content):
			r.add(key, at, "has no value: give one, or leave the line out")
		case setting != nil:
			r.readSetting(setting, content, key, base, at, asFile)
		case !r.isSection(key):
			r.add(clip(key), at, "is unknown%s: leave it out; docs/configuration.md has all that there are", r.guess(key))
		case empty(content):
		case content.Kind != yaml.MappingNode:
			r.add(key, at, "is a section: write what is in it below it, indented")
		default:
			r.readSection(content, key+".", base, file)
		}
	}
}

func (r *reader) readSetting(s *Setting, node *yaml.Node, key, base string, at Origin, asFile bool) {
	g := given{origin: at, asFile: asFile}
	before := len(r.problems)
	if s.kind == structured && !asFile {
		g.value.tree = r.readKeys(node, key, at)
	} else {
		g.value.items, _ = r.items(node, key, at, s.List && !asFile)
	}
	if len(r.problems) > before {
		r.bad[s.Key] = true
		return
	}
	r.give(s, g, base)
}

// empty is a key without a value.
func empty(node *yaml.Node) bool {
	return node.Kind == yaml.ScalarNode && node.Tag == "!!null" && node.Style&yaml.TaggedStyle == 0
}

// pairs are what is in a mapping, each name once.
func (r *reader) pairs(node *yaml.Node, key string, file Origin) iter.Seq2[*yaml.Node, *yaml.Node] {
	return func(yield func(*yaml.Node, *yaml.Node) bool) {
		seen := make(map[string]bool)
		for pair := range slices.Chunk(node.Content, 2) {
			name, content := pair[0], pair[1]
			at := file.at(name.Line)
			switch {
			case name.Kind != yaml.ScalarNode || name.Tag == "!!merge" || name.Style&yaml.TaggedStyle != 0:
				r.add(key, at, "has a key that is no plain name: write settings as 'name: value'")
			case content.Kind == yaml.AliasNode:
				r.add(strings.TrimPrefix(key+"."+clip(name.Value), "."), at, "is an alias: write the value itself")
			case seen[name.Value]:
				r.add(strings.TrimPrefix(key+"."+clip(name.Value), "."), at, "is there twice: leave one out")
			default:
				seen[name.Value] = true
				if !yield(name, content) {
					return
				}
			}
		}
	}
}

// items reads a scalar or, for a list, a sequence of them.
func (r *reader) items(node *yaml.Node, key string, at Origin, list bool) ([]string, bool) {
	switch {
	case node.Style&yaml.TaggedStyle != 0:
		r.add(key, at, "has a tag of YAML, %s: leave it out", clip(node.Tag))
	case node.Kind == yaml.ScalarNode && list:
		return split(node.Value), true
	case node.Kind == yaml.ScalarNode:
		return []string{node.Value}, true
	case node.Kind == yaml.SequenceNode && list:
		items := make([]string, 0, len(node.Content))
		for _, item := range node.Content {
			if item.Kind != yaml.ScalarNode || item.Style&yaml.TaggedStyle != 0 || empty(item) {
				r.add(key, at.at(item.Line), "has an entry that is no plain value: give words or numbers")
				return nil, false
			}
			items = append(items, item.Value)
		}
		return items, true
	case node.Kind == yaml.SequenceNode:
		r.add(key, at, "is a list: give one value")
	default:
		r.add(key, at, "is not a plain value: give a word or a number")
	}
	return nil, false
}

// split reads a list that is written in one text, with commas.
func split(text string) []string {
	var items []string
	for item := range strings.SplitSeq(text, ",") {
		if item = strings.TrimSpace(item); item != "" {
			items = append(items, item)
		}
	}
	return items
}
