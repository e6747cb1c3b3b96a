package usage

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"

	"github.com/waylume/waylume/cmd/waylumed/internal/console"
)

// Write shows the report to a person.
func (r *Report) Write(c console.Console) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s  %s to %s\n", c.Paint(console.Bold, "Usage"), r.time(r.From), r.time(r.To))
	switch {
	case r.Covers == nil:
		b.WriteString("The log knows nothing of that time.\n")
	case !r.Covers.From.Equal(r.From) || !r.Covers.To.Equal(r.To):
		fmt.Fprintf(&b, "What is known is of %s to %s.\n", r.time(r.Covers.From), r.time(r.Covers.To))
	}
	if rows := r.rows(); len(rows) > 0 {
		t := table.NewWriter()
		style := table.StyleRounded
		style.Format.Header = text.FormatDefault
		t.SetStyle(style)
		t.AppendHeader(table.Row{"From", "", "Name", "Number", "Downloaded", "Uploaded"})
		t.SetColumnConfigs([]table.ColumnConfig{
			{Number: 4, Align: text.AlignRight}, {Number: 5, Align: text.AlignRight}, {Number: 6, Align: text.AlignRight},
		})
		t.AppendRows(rows)
		b.WriteString(t.Render() + "\n")
	} else if r.Covers != nil {
		b.WriteString("Nothing was used.\n")
	}
	for _, d := range r.Damage {
		fmt.Fprintf(&b, "The log is damaged, and what is missing counts later: %s\n", d)
	}
	_, err := io.WriteString(c, b.String())
	return err
}

func (r *Report) rows() (rows []table.Row) {
	for _, step := range r.Steps {
		from := r.time(step.From)
		for _, u := range step.Usages {
			rows = append(rows, table.Row{from, u.Kind, u.Name, u.Sequence, grouped(u.DownloadBytes), grouped(u.UploadBytes)})
			from = ""
		}
	}
	return rows
}

// time is a time in the zone that was asked in.
func (r *Report) time(at time.Time) string { return at.In(r.From.Location()).Format(time.RFC3339) }

// grouped is a number with its thousands apart.
func grouped(n uint64) string {
	digits := strconv.FormatUint(n, 10)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}
