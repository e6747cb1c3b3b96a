package status

import (
	"fmt"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"

	"github.com/waylume/waylume/cmd/waylumed/internal/console"
)

// maxShown is how many peers a person is shown.
const maxShown = 50

// Show shows a report to a person.
func Show(out console.Console, r Report) {
	fmt.Fprintf(out, "%s  %s since %s, %s dataplane, UDP port %d, key %s\n", out.Paint(console.Bold, "Node"), r.State,
		r.Since.Local().Format(time.DateTime), r.Dataplane, r.ListenPort, r.PublicKey)
	if o := r.Overlap; o != nil {
		fmt.Fprintf(out, "  Devices may know it by its former key %s until %s: %s\n", o.FormerKey, o.EndsAt.Local().Format(time.DateTime), o.laggards(len(r.Peers)))
	}
	if len(r.Problems) == 0 {
		fmt.Fprintf(out, "%s Nothing is known to be wrong.\n", out.Mark(true))
	}
	for _, p := range r.Problems {
		fmt.Fprintf(out, "%s %s, since %s: %s\n", out.Mark(false), p.Area, p.Since.Local().Format(time.DateTime), p.What)
	}
	for _, l := range r.Limitations {
		fmt.Fprintf(out, "  Limitation: %s\n", l)
	}
	if len(r.Peers) == 0 {
		return
	}
	t := table.NewWriter()
	style := table.StyleRounded
	style.Format.Header = text.FormatDefault
	t.SetStyle(style)
	t.AppendHeader(table.Row{"Peer", "Account", "Connection", "Handshake", "Endpoint", "Changes", "Download", "Upload", "Handshake loss"})
	for _, p := range r.Peers[:min(len(r.Peers), maxShown)] {
		t.AppendRow(p.row(r.At))
	}
	fmt.Fprintln(out, t.Render())
	if more := len(r.Peers) - maxShown; more > 0 {
		fmt.Fprintf(out, "And %d more: --json has all.\n", more)
	}
}

// laggards says who still uses the former key.
func (o Overlap) laggards(peers int) string {
	if o.Peers == 0 {
		return "no peer's last handshake was with it"
	}
	return fmt.Sprintf("the last handshake of %d of %d peers was with it", o.Peers, peers)
}

func (p Peer) row(now time.Time) table.Row {
	row := table.Row{p.called(), p.Account, p.State, "none", p.Endpoint, p.EndpointChanges, rate(p.DownloadBPS), rate(p.UploadBPS), "unknown"}
	if !p.LastHandshake.IsZero() {
		row[3] = max(now.Sub(p.LastHandshake), 0).Round(time.Second).String() + " ago"
	}
	if p.FormerKey {
		row[3] = fmt.Sprint(row[3], ", former key")
	}
	if p.HandshakeLoss != nil {
		row[8] = fmt.Sprintf("%.0f %%", 100**p.HandshakeLoss)
	}
	return row
}

func rate(bps *uint64) string {
	switch {
	case bps == nil:
		return "unknown"
	case *bps < 1e6:
		return fmt.Sprintf("%.1f kbit/s", float64(*bps)/1e3)
	case *bps < 1e9:
		return fmt.Sprintf("%.1f Mbit/s", float64(*bps)/1e6)
	}
	return fmt.Sprintf("%.1f Gbit/s", float64(*bps)/1e9)
}
