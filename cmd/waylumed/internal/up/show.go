package up

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/cmd/waylumed/internal/console"
	"github.com/waylume/waylume/wgnode"
)

// showNewPeer shows the peer's configuration, with the private key that nobody will see again.
func (r *runner) showNewPeer(peer wgnode.AddedPeer) error {
	cfg, err := r.node.ClientConfig(peer.PublicKey, peer.PrivateKey)
	if err != nil {
		return err
	}
	out := r.Out
	fmt.Fprintf(out, "%s  its private key is shown this once and is not kept\n\n", out.Paint(console.Bold, "Configuration of peer "+name(peer.Peer)))
	fmt.Fprint(out, cfg)
	if !r.Settings.NoQR {
		code, err := cfg.QRText()
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "\n%s  scan it with the WireGuard app: +, Create from QR code\n\n%s", out.Paint(console.Bold, "As a QR code"), r.paintCode(code))
	}
	fmt.Fprintf(out, "\n%s  %s, %s", out.Paint(console.Bold, "Limits of "+name(peer.Peer)), limitText(peer.SpeedLimit), capText(peer.DataCap))
	if account, err := r.node.Account(peer.Account); err == nil {
		fmt.Fprintf(out, "; with all of account %s %s, %s", account.ID, limitText(account.SpeedLimit), capText(account.DataCap))
	}
	fmt.Fprint(out, ".\nIt reaches the internet; not other peers, this host, or private networks, and not TCP port 25.\n\n")
	return nil
}

// paintCode makes a code right for a scanner on a terminal of any colours, where colours are wanted: white on black.
func (r *runner) paintCode(code string) string {
	lines := strings.Split(strings.TrimSuffix(code, "\n"), "\n")
	var b strings.Builder
	if width := utf8.RuneCountInString(lines[0]); r.Out.Width > 0 && r.Out.Width < width {
		fmt.Fprintf(&b, "The code needs %d columns and this terminal has %d: make it wider, or the text smaller, and run\n"+
			"waylumed up --new-peer. Here is the code all the same.\n\n", width, r.Out.Width)
	}
	for _, line := range lines {
		if r.Out.Colour {
			line = "\x1b[97;40m" + line + "\x1b[0m"
		}
		b.WriteString(line + "\n")
	}
	return b.String()
}

// showPeers lists peers with what they used.
func (r *runner) showPeers(ctx context.Context, peers []wgnode.Peer) error {
	t := table.NewWriter()
	style := table.StyleRounded
	style.Format.Header = text.FormatDefault
	t.SetStyle(style)
	t.AppendHeader(table.Row{"Peer", "Account", "Addresses", "Speed limit", "Data cap", "Used"})
	for _, p := range peers {
		usage, err := r.node.Usage(ctx, wgnode.OfPeer(p.PublicKey))
		if err != nil {
			return err
		}
		addrs := make([]string, len(p.Addrs))
		for i, addr := range p.Addrs {
			addrs[i] = addr.String()
		}
		t.AppendRow(table.Row{
			name(p), p.Account, strings.Join(addrs, "\n"), strings.ReplaceAll(limitText(p.SpeedLimit), ", ", "\n"),
			capText(p.DataCap), usageText(usage),
		})
	}
	fmt.Fprintf(r.Out, "%s\n%s\nThese peers keep their configurations. For another: waylumed up --new-peer\n\n",
		r.Out.Paint(console.Bold, "Peers of this node"), t.Render())
	return nil
}

func usageText(u wgnode.Usage) string {
	if u.Limit == 0 {
		return amount(u.Counters.Download + u.Counters.Upload)
	}
	text := fmt.Sprintf("%s, %.0f %%", amount(uint64(u.Used)), 100*float64(u.Used)/float64(u.Limit))
	if u.Depleted {
		text += ", used up"
	}
	return text
}

// amount is a number of bytes as a person says it.
func amount(n uint64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"}
	x, unit := float64(n), 0
	for x >= 1024 && unit < len(units)-1 {
		x, unit = x/1024, unit+1
	}
	if unit == 0 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %s", x, units[unit])
}

// showNode says where the node is.
func (r *runner) showNode(status wgnode.Status) error {
	out := r.Out
	endpoint := r.plan.node.Endpoint
	if _, _, err := net.SplitHostPort(endpoint); err != nil {
		endpoint = net.JoinHostPort(strings.Trim(endpoint, "[]"), strconv.Itoa(int(status.ListenPort)))
	}
	fmt.Fprintln(out, out.Paint(console.Bold, "Node"))
	line := func(what, is string) {
		fmt.Fprintf(out, "  %-12s %s\n", what, strings.ReplaceAll(is, "\n", "\n               "))
	}
	line("Listens on", fmt.Sprintf("UDP port %d, all addresses", status.ListenPort))
	line("Endpoint", endpoint)
	if advice := r.how.Advice(names(), r.plan.node.Endpoint, status.ListenPort); advice != "" {
		line("", advice)
	}
	line("Public key", status.PublicKey.String())
	if status.FormerKey != (wgtypes.Key{}) {
		line("Former key", fmt.Sprintf("%s, until %s", status.FormerKey, localTime(status.OverlapEnds)))
	}
	line("State", r.Settings.State)
	line("Usage log", r.usageText())
	line("Dataplane", r.chosen.About)
	if r.chosen.Why != nil {
		line("", wrap("not the kernel's: "+r.chosen.Why.Error(), 90))
	}
	if r.chosen.Kernel {
		seen, err := lookAtHost(r.plan.kernel.Interface)
		if err != nil {
			return err
		}
		r.showKernel(line, seen)
	}
	for _, limitation := range status.Limitations {
		line("Limitation", wrap(limitation, 90))
	}
	_, err := fmt.Fprintf(out, "\n%s Running. Ctrl-C stops it.\n", out.Mark(true))
	return err
}

// wrap breaks a text at spaces into lines of at most so many bytes, where it can.
func wrap(s string, width int) string {
	var b strings.Builder
	column := 0
	for i, word := range strings.Fields(s) {
		switch {
		case i == 0:
		case column+1+len(word) > width:
			b.WriteByte('\n')
			column = 0
		default:
			b.WriteByte(' ')
			column++
		}
		b.WriteString(word)
		column += len(word)
	}
	return b.String()
}
