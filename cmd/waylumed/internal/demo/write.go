package demo

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"

	"github.com/waylume/waylume/cmd/waylumed/internal/console"
)

// Write shows the report to a person: a table for each kind of row, what does not hold with the reason, and the verdict.
func (r *Report) Write(c console.Console) error {
	p := &printer{console: c}
	p.speeds(r.Speeds)
	p.shared(r.Shared)
	p.caps(r.Caps)
	p.throttles(r.Throttles)
	p.probes(r.Probes)
	p.verdict(r)
	_, err := io.WriteString(c, p.String())
	return err
}

type printer struct {
	strings.Builder
	console console.Console
	notes   []string // of the rows of the table that is being written
}

func (p *printer) speeds(rows []Speed) {
	t := p.table("Speed limits and latency", "Mbit/s of IP packets inside the tunnel; RTT in ms, median / 95th percentile",
		[]string{"Peer", "Account", "Over", ">↓ limit", ">↓ measured", ">↑ limit", ">↑ measured", ">RTT idle", ">RTT loaded"})
	for _, r := range rows {
		t.AppendRow(table.Row{
			r.Peer, r.Account, over(r.Transport, r.Family), megabits(r.Download.ConfiguredBPS), megabits(r.Download.MeasuredBPS),
			megabits(r.Upload.ConfiguredBPS), megabits(r.Upload.MeasuredBPS), r.IdleRTT, r.LoadedRTT, p.mark(r.Peer, r.Verdict),
		})
	}
	p.end(t)
}

func (p *printer) shared(rows []SharedLimit) {
	t := p.table("One limit for an account", "two peers without limits of their own, each as greedy as it can be",
		[]string{"Account", "Peer", ">TCP streams", ">↓ fair part", ">↓ measured", ">off by"})
	for _, r := range rows {
		for _, share := range r.Shares {
			t.AppendRow(table.Row{
				r.Account, share.Peer, share.Streams, megabits(share.ConfiguredBPS), megabits(share.MeasuredBPS), percent(share.ErrorPercent), "",
			})
		}
		t.AppendRow(table.Row{
			r.Account, "together", "", megabits(r.Download.ConfiguredBPS), megabits(r.Download.MeasuredBPS),
			percent(r.Download.ErrorPercent), p.mark("account "+r.Account, r.Verdict),
		})
	}
	p.end(t)
}

func (p *printer) caps(rows []Cap) {
	t := p.table("Data cap that blocks", "bytes of IP packets inside the tunnel; the client counts on its own",
		[]string{"Peer", ">Cap", ">Node counted", ">Client got", ">Left", ">Overshoot", ">After the cut"})
	for _, r := range rows {
		t.AppendRow(table.Row{
			r.Peer, digits(r.CapBytes), digits(r.NodeBytes), digits(r.WitnessBytes), digits(r.UnusedBytes),
			digits(r.OvershootBytes), digits(r.AfterBytes), p.mark(r.Peer, r.Verdict),
		})
	}
	p.end(t)
}

func (p *printer) throttles(rows []Throttle) {
	t := p.table("Data cap that slows down", "Mbit/s",
		[]string{"Peer", ">Cap", ">↓ before", ">measured", ">↓ after", ">measured"})
	for _, r := range rows {
		t.AppendRow(table.Row{
			r.Peer, digits(r.CapBytes), megabits(r.Before.ConfiguredBPS), megabits(r.Before.MeasuredBPS),
			megabits(r.After.ConfiguredBPS), megabits(r.After.MeasuredBPS), p.mark(r.Peer, r.Verdict),
		})
	}
	p.end(t)
}

func (p *printer) probes(rows []Probe) {
	t := p.table("Isolation", "the default policy; each target listens, and the blocked ones saw nothing",
		[]string{"From", "To", "Target", "Expected", "Happened", "Dropped as"})
	for _, r := range rows {
		t.AppendRow(table.Row{r.From, r.Name, r.Target, r.Expected, r.Got, r.droppedAs(), p.mark(r.Name, r.Verdict)})
	}
	p.end(t)
}

// droppedAs is the node's word for what it did.
func (r *Probe) droppedAs() string {
	switch {
	case r.Got != blocked:
		return ""
	case r.DropReason == "":
		return "not its address"
	}
	return r.DropReason
}

func (p *printer) verdict(r *Report) {
	rows, held, again := r.rows(), 0, 0
	for _, v := range rows {
		if v.OK {
			held++
		}
		if v.Attempts > 1 {
			again++
		}
	}
	fmt.Fprintf(p, "\n%s %d of %d rows hold, after %.1f s.", p.console.Mark(r.OK), held, len(rows), (time.Duration(r.DurationMS) * time.Millisecond).Seconds())
	if again > 0 {
		fmt.Fprintf(p, " %d measured more than once: this machine is busy.", again)
	}
	fmt.Fprintf(p, "\n  %s dataplane, stock WireGuard clients over UDP port %d on the loopback; no privilege was used.\n", r.Node.Dataplane, r.Node.ListenPort)
	for _, limitation := range r.Node.Limitations {
		fmt.Fprintf(p, "  %s\n", p.console.Paint(console.Faint, "Not on this system: "+limitation+"."))
	}
}

// table begins a table. A name that begins with ">" is of a column of figures; a last column for the marks is added.
func (p *printer) table(title, remark string, columns []string) table.Writer {
	fmt.Fprintf(p, "\n%s  %s\n", p.console.Paint(console.Bold, title), p.console.Paint(console.Faint, remark))
	style := table.StyleRounded
	style.Format.Header = text.FormatDefault
	t := table.NewWriter()
	t.SetStyle(style)
	var header table.Row
	var configs []table.ColumnConfig
	for i, name := range columns {
		name, figures := strings.CutPrefix(name, ">")
		if figures {
			configs = append(configs, table.ColumnConfig{Number: i + 1, Align: text.AlignRight, AlignHeader: text.AlignRight})
		}
		header = append(header, name)
	}
	t.AppendHeader(append(header, ""))
	t.SetColumnConfigs(configs)
	return t
}

// end writes the table, and below it what does not hold.
func (p *printer) end(t table.Writer) {
	p.WriteString(t.Render())
	p.WriteByte('\n')
	for _, note := range p.notes {
		fmt.Fprintf(p, "  %s\n", p.console.Paint(console.Red, note))
	}
	p.notes = nil
}

// mark is a row's mark; its problems are noted for the end of the table.
func (p *printer) mark(row string, v Verdict) string {
	for _, problem := range v.Problems {
		p.notes = append(p.notes, row+": "+problem)
	}
	return p.console.Mark(v.OK)
}

func over(transport, family string) string {
	return strings.ToUpper(transport) + ", " + strings.Replace(family, "ip", "IP", 1)
}

func megabits(bps uint64) string { return fmt.Sprintf("%.2f", float64(bps)/1e6) }

func percent(x float64) string { return fmt.Sprintf("%+.1f %%", x) }

// String is the median and the 95th percentile in milliseconds.
func (r RTT) String() string { return fmt.Sprintf("%.1f / %.1f", r.MedianMS, r.P95MS) }

// digits is a number with its thousands apart.
func digits(n uint64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
