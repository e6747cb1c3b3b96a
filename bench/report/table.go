package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"
)

// table shows the cases of one topic: a row for each combination of the values of some keys.
type table struct {
	title string
	topic string
	// where are keys that all rows have.
	where keys
	// rows are the keys that tell rows apart. A case that has none of one is there too.
	rows    []string
	columns []column
	// order are values of keys in the order to show them in, before others.
	order map[string][]string
	// note is what a reader must know, after the table.
	note string
}

// column is a figure of each row.
type column struct {
	head string
	figure
}

// row is a row's keys, those of the table's where among them, and a figure for each column.
type row struct {
	keys  keys
	cells []series
}

// fill is the table with its figures; no rows where nothing of it was measured. It reports what it has shown.
func (t table) fill(r *results, shown func(s *subject, unit string)) (rows []row) {
	seen := map[string]bool{}
	for _, s := range r.subjects {
		of := s.keys.only(t.rows)
		if s.topic != t.topic || seen[of.String()] || !t.has(s.keys) {
			continue
		}
		seen[of.String()] = true
		filled := row{keys: of.with(t.where)}
		for _, c := range t.columns {
			filled.cells = append(filled.cells, c.of(r, t.topic, filled.keys))
		}
		rows = append(rows, filled)
	}
	for _, row := range rows {
		for _, c := range t.columns {
			topic := t.topic
			if c.topic != "" {
				topic = c.topic
			}
			if s := r.find(topic, row.keys.with(c.keys)); s != nil {
				shown(s, c.unit)
			}
		}
	}
	rows = slices.DeleteFunc(rows, func(r row) bool {
		return !slices.ContainsFunc(r.cells, func(s series) bool { return len(s.figures()) > 0 })
	})
	slices.SortStableFunc(rows, func(a, b row) int {
		for _, key := range t.rows {
			if c := order(t.order[key], a.keys[key], b.keys[key]); c != 0 {
				return c
			}
		}
		return 0
	})
	return rows
}

// has reports whether a case with these keys is in the table: whether some column has it in the row of its keys.
func (t table) has(of keys) bool {
	row := of.only(t.rows).with(t.where)
	return slices.ContainsFunc(t.columns, func(c column) bool {
		return c.topic == "" && maps.Equal(row.with(c.keys), of)
	})
}

// write shows the table, if there is anything in it.
func (t table) write(w io.Writer, rows []row) {
	if len(rows) == 0 {
		return
	}
	lines := [][]string{slices.Clone(t.rows)}
	for _, c := range t.columns {
		lines[0] = append(lines[0], c.head)
	}
	for _, r := range rows {
		line := r.keys.values(t.rows)
		for _, cell := range r.cells {
			line = append(line, format(cell.median()))
		}
		lines = append(lines, line)
	}
	fmt.Fprintf(w, "\n%s\n", t.title)
	align(w, lines, len(t.rows))
	if t.note != "" {
		fmt.Fprintln(w, t.note)
	}
}

// align writes lines with their columns below each other: the first ones to the left, the others to the right.
func align(w io.Writer, lines [][]string, left int) {
	widths := make([]int, len(lines[0]))
	for _, line := range lines {
		for i, cell := range line {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	for _, line := range lines {
		var text strings.Builder
		for i, cell := range line {
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if i > 0 {
				text.WriteString("  ")
			}
			if i < left {
				text.WriteString(cell + pad)
			} else {
				text.WriteString(pad + cell)
			}
		}
		fmt.Fprintln(w, strings.TrimRight(text.String(), " "))
	}
}

// writeRest lists what was measured and no table has.
func writeRest(w io.Writer, r *results, shown func(s *subject, unit string) bool) {
	var lines [][]string
	for _, s := range r.subjects {
		for _, unit := range s.units {
			if !shown(s, unit) {
				lines = append(lines, []string{s.name, unit, format(s.series(unit).median())})
			}
		}
	}
	if len(lines) == 0 {
		return
	}
	fmt.Fprintf(w, "\nWhat no table has\n")
	const left = 2 // the name and the unit
	align(w, lines, left)
}
