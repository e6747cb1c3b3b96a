package config

import (
	"errors"
	"fmt"
	"io"
	"strings"
)

// Table writes every setting in Markdown, a table for each section.
func Table(w io.Writer) error {
	var b strings.Builder
	section := "?"
	for _, s := range Settings("") {
		top, _, nested := strings.Cut(s.Key, ".")
		if !nested {
			top = ""
		}
		if top != section {
			section = top
			title := "`" + section + "`"
			if section == "" {
				title = "Above all"
			}
			fmt.Fprintf(&b, "\n### %s\n\n| setting | what | value | default | environment | flag | reload "+
				"|\n|---|---|---|---|---|---|---|\n", title)
		}
		key, env, flag := code(s.Key), code(s.Env), code("--"+s.Flag)
		if s.Secret {
			key, env, flag = key+", "+code(s.FileKey()), env+", "+code(s.FileEnv()), code("--"+s.FileFlag())
		}
		reload := "no"
		if s.Reloadable {
			reload = "yes"
		}
		unit := s.Unit
		if s.Secret {
			unit += "; secret"
		}
		def := s.DefaultText
		if def == "" {
			def = code(strings.Join(split(s.Default), ", "))
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s | %s |\n", key, strings.ReplaceAll(s.Doc, "|", `\|`), unit, def, env, flag,
			reload)
	}
	_, err := io.WriteString(w, strings.TrimPrefix(b.String(), "\n"))
	return err
}

func code(text string) string { return "`" + text + "`" }

// What the table stands between in a document.
const (
	tableBegins = "<!-- The table: waylumed config docs --update FILE -->"
	tableEnds   = "<!-- The end of the table. -->"
)

// Update is a document with the table in it as it is now.
func Update(document string) (string, error) {
	before, rest, ok := strings.Cut(document, tableBegins)
	_, after, ends := strings.Cut(rest, tableEnds)
	if !ok || !ends {
		return "", errors.New("the document has no place for the table: it is between the lines\n" + tableBegins + "\n" + tableEnds)
	}
	var b strings.Builder
	if err := Table(&b); err != nil {
		return "", err
	}
	return before + tableBegins + "\n\n" + b.String() + "\n" + tableEnds + after, nil
}

// Template writes a file with every setting and what it is about. Those in chosen, by their keys, have their values, which are
// texts, lists of texts or, for keys, lists of maps; a secret is chosen by its FileKey. The others are comments.
func Template(w io.Writer, chosen map[string]any) error {
	t := treeWriter{w: w}
	t.printf("# Settings of waylumed. A line that is a comment shows what holds without it.\n" +
		"# 'waylumed config check' says what is wrong, 'waylumed config show' what holds and why.\n\n")
	for _, s := range Settings("") {
		indent, name := t.enter(s.Key)
		about := s.Doc + ". Value: " + s.Unit
		if s.DefaultText != "" {
			about += "; by default " + s.DefaultText
		}
		for _, line := range wrap(about+".", 96-len(indent)) {
			t.printf("%s# %s\n", indent, line)
		}
		val, is := chosen[s.Key]
		file, inFile := chosen[s.FileKey()]
		switch {
		case is:
			t.printf("%s%s: %s\n", indent, name, flow(val))
		case s.Secret && inFile:
			t.printf("%s%s_file: %s\n", indent, name, flow(file))
		case s.Secret:
			t.printf("%s# %s_file:\n", indent, name)
		case s.List:
			t.printf("%s# %s: %s\n", indent, name, flow(split(strings.TrimPrefix(s.Default, "none"))))
		default:
			t.printf("%s# %s\n", indent, strings.TrimSpace(name+": "+s.Default))
		}
	}
	return t.err
}

// wrap breaks a text into lines of at most so many bytes, where its words allow that.
func wrap(text string, most int) (lines []string) {
	line := ""
	for word := range strings.FieldsSeq(text) {
		if line != "" && len(line)+1+len(word) > most {
			lines, line = append(lines, line), ""
		}
		line = strings.TrimPrefix(line+" "+word, " ")
	}
	return append(lines, line)
}

// Valid says what is wrong with a text for a setting.
func Valid(key, text string) error {
	for _, s := range Settings("") {
		if s.Key != key {
			continue
		}
		v := value{items: []string{text}}
		if s.List {
			v.items = split(text)
		}
		if faults := s.bind.set(new(Config), v); len(faults) > 0 {
			return faults[0].err
		}
		return nil
	}
	return fmt.Errorf("%s is no setting", key)
}
