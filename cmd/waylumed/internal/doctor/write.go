package doctor

import (
	"cmp"
	"fmt"
	"io"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"

	"github.com/waylume/waylume/cmd/waylumed/internal/console"
	"github.com/waylume/waylume/wgnode/kernel"
)

// Write shows the report to a person.
func (r *Report) Write(c console.Console) error {
	p := &printer{console: c}
	p.host(r)
	p.features(r.Features)
	p.firewalls(r)
	p.verdict(r)
	_, err := io.WriteString(c, p.String())
	return err
}

type printer struct {
	strings.Builder
	console console.Console
}

// width is of running text, in columns.
const width = 96

func (p *printer) title(title string) { fmt.Fprintln(p, p.console.Paint(console.Bold, title)) }

func (p *printer) line(what, is string) { p.paragraph(fmt.Sprintf("  %-10s ", what), is) }

// paragraph writes a text after its beginning, and goes on below where the text began.
func (p *printer) paragraph(beginning, is string) {
	column := text.StringWidthWithoutEscSequences(beginning)
	wrapped := text.WrapSoft(is, width-column)
	p.WriteString(beginning)
	for i, line := range strings.Split(wrapped, "\n") {
		if i > 0 {
			p.WriteString(strings.Repeat(" ", column))
		}
		p.WriteString(strings.TrimRight(line, " ") + "\n")
	}
}

func (p *printer) host(r *Report) {
	h := r.Host
	p.title("Host")
	p.line("System", strings.TrimSpace(h.OS+"/"+h.Arch+" "+h.Kernel))
	if h.UserID >= 0 {
		who := fmt.Sprintf("user %d", h.UserID)
		if h.UserID == 0 {
			who = "root"
		}
		p.line("Runs as", who+", with "+cmp.Or(strings.Join(h.Capabilities, ", "), "neither CAP_NET_ADMIN nor CAP_SYS_ADMIN"))
	}
	switch {
	case len(r.Features) == 0:
	case r.tried():
		p.line("Found out", "by trying everything in a network namespace, which is gone again")
	default:
		p.line("Found out", "by reading what the kernel says of itself: only root (CAP_SYS_ADMIN) may try")
	}
}

func (p *printer) features(features []Feature) {
	if len(features) == 0 {
		return
	}
	p.WriteByte('\n')
	fmt.Fprintf(p, "%s  %s\n", p.console.Paint(console.Bold, "Features for the kernel dataplane"),
		p.console.Paint(console.Faint, "one driver of the two is enough; what is better can be missing"))
	t := newTable("", "Feature", "Here", "Need", "What for")
	for _, f := range features {
		t.AppendRow(table.Row{p.mark(f), f.Name, f.Answer, f.Need, f.Purpose})
	}
	fmt.Fprintln(p, t.Render())
}

func (p *printer) mark(f Feature) string {
	switch {
	case f.Answer == kernel.Unknown:
		return "?"
	case f.Answer == kernel.Absent && f.Need != kernel.NeedAlways:
		return p.console.Paint(console.Faint, "–")
	}
	return p.console.Mark(f.Answer == kernel.There)
}

func (p *printer) firewalls(r *Report) {
	if len(r.Features) == 0 {
		return
	}
	p.WriteByte('\n')
	p.title("Other firewalls")
	switch {
	case r.FirewallsUnknown != "":
		p.paragraph("  ", "unknown: "+r.FirewallsUnknown)
	case len(r.Firewalls) == 0:
		p.paragraph("  ", "none in nftables judges packets that are forwarded or come in")
	default:
		t := newTable("Table", "Whose", "Forwarded", "Incoming", "The kernel dataplane")
		for _, w := range r.Firewalls {
			t.AppendRow(table.Row{
				w.Family + " " + w.Table, cmp.Or(strings.Join(w.Programs, ", "), "somebody's"), byDefault(w.DropsForwarded), byDefault(w.DropsInput), w.what(),
			})
		}
		fmt.Fprintln(p, t.Render())
	}
	if r.IPTablesLegacy {
		p.paragraph("  ", "iptables-legacy has tables, which cannot be seen through nftables: if they drop by default, accept what "+
			"comes from and goes to "+kernel.DefaultInterface+" in them")
	}
}

func byDefault(drops bool) string {
	if drops {
		return "dropped"
	}
	return "passed"
}

// what the dataplane does about a firewall.
func (w Firewall) what() string {
	switch {
	case !w.DropsForwarded && !w.DropsInput:
		return "needs nothing there"
	case w.Locked:
		return "is blocked, and cannot change that"
	}
	return "puts rules there, and takes them out"
}

func (p *printer) verdict(r *Report) {
	p.WriteByte('\n')
	p.title("Verdict")
	p.paragraph(p.console.Mark(true)+" ", r.sentence())
	if v := r.Verdict; v.Dataplane == kernelDataplane && len(v.Unsure) > 0 {
		p.paragraph("  ", "What it requires and could not be told: "+strings.Join(v.Unsure, "; ")+".")
	}
	switch {
	case r.tried() || len(r.Features) == 0:
	case r.Host.UserID == 0:
		p.paragraph("  ", "For a surer answer run it where root has CAP_SYS_ADMIN, such as outside a container.")
	default:
		p.paragraph("  ", "For a surer answer: sudo waylumed doctor")
	}
	if len(r.Verdict.Changes) == 0 {
		return
	}
	head := "For a better one, in this order:"
	if r.Verdict.Dataplane == userspaceDataplane {
		head = "For the kernel dataplane, in this order:"
	}
	fmt.Fprintf(p, "\n%s\n", head)
	for i, c := range r.Verdict.Changes {
		p.paragraph(fmt.Sprintf("%3d. ", i+1), p.console.Paint(console.Bold, c.Feature)+": "+c.Gain+".")
		p.paragraph("     ", "It takes "+c.Do+".")
	}
}

func newTable(columns ...string) table.Writer {
	style := table.StyleRounded
	style.Format.Header = text.FormatDefault
	t := table.NewWriter()
	t.SetStyle(style)
	header := make(table.Row, len(columns))
	for i, name := range columns {
		header[i] = name
	}
	t.AppendHeader(header)
	return t
}
