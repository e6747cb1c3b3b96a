package ask

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"

	"github.com/waylume/waylume/cmd/waylumed/internal/console"
)

// column is one of a table.
type column struct {
	name  string
	right bool // numbers are
	// spare is how well it can be done without: the highest goes first where a terminal is narrow; 0: it stays.
	spare int
}

// writeTable shows rows that fit the width of a terminal: what can be spared best is left out, and said to be.
func writeTable(c console.Console, columns []column, rows [][]string) error {
	var left []string
	for {
		rendered := render(columns, rows)
		first, _, _ := strings.Cut(rendered, "\n")
		spare := mostSpare(columns)
		if c.Width == 0 || text.StringWidth(first) <= c.Width || spare < 0 {
			if len(left) > 0 {
				rendered += fmt.Sprintf("\nFor want of width without %s: --json has all.", strings.Join(left, ", "))
			}
			_, err := io.WriteString(c, rendered+"\n")
			return err
		}
		left = append(left, columns[spare].name)
		columns = slices.Delete(slices.Clone(columns), spare, spare+1)
		rows = slices.Clone(rows)
		for i := range rows {
			rows[i] = slices.Delete(slices.Clone(rows[i]), spare, spare+1)
		}
	}
}

// mostSpare is the column that goes next; -1: none.
func mostSpare(columns []column) int {
	most := -1
	for i, c := range columns {
		if c.spare > 0 && (most < 0 || c.spare > columns[most].spare) {
			most = i
		}
	}
	return most
}

func render(columns []column, rows [][]string) string {
	t := table.NewWriter()
	style := table.StyleRounded
	style.Format.Header = text.FormatDefault
	t.SetStyle(style)
	header := make(table.Row, len(columns))
	var configs []table.ColumnConfig
	for i, c := range columns {
		header[i] = c.name
		if c.right {
			configs = append(configs, table.ColumnConfig{Number: i + 1, Align: text.AlignRight})
		}
	}
	t.AppendHeader(header)
	t.SetColumnConfigs(configs)
	for _, row := range rows {
		cells := make(table.Row, len(row))
		for i, cell := range row {
			cells[i] = Clean(cell)
		}
		t.AppendRow(cells)
	}
	return t.Render()
}

// writeFacts shows what is known of one thing, a line each. Facts that are empty are left out.
func writeFacts(c console.Console, title string, facts [][2]string) error {
	var b strings.Builder
	fmt.Fprintln(&b, c.Paint(console.Bold, Clean(title)))
	for _, fact := range facts {
		if fact[1] != "" {
			fmt.Fprintf(&b, "  %-14s %s\n", fact[0], strings.ReplaceAll(Clean(fact[1]), "\n", "\n                 "))
		}
	}
	_, err := io.WriteString(c, b.String())
	return err
}
