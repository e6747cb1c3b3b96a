package ask

import (
	"fmt"
	"strings"

	"github.com/waylume/waylume/cmd/waylumed/internal/console"
	"github.com/waylume/waylume/wgnode/httpapi/eventstream"
	api "github.com/waylume/waylume/wgnode/httpapi/v1"
)

// ShowEvent shows an event on one line.
func ShowEvent(c console.Console, e eventstream.Event) error {
	parts := []string{fmt.Sprintf("%s  %-22s", timeText(e.Time, ""), e.Kind)}
	for _, part := range []struct{ name, value string }{
		{"peer", e.Peer}, {"account", e.Account}, {"formerly", short(e.FormerPeer)}, {"formerly of account", e.FormerAccount},
		{"node key", e.NodeKey}, {"formerly", short(e.FormerNodeKey)}, {"reason", e.Reason},
	} {
		if part.value != "" {
			parts = append(parts, part.name+" "+part.value)
		}
	}
	if e.Percent > 0 {
		parts = append(parts, fmt.Sprintf("%d %%", e.Percent))
	}
	if e.Usage != nil {
		parts = append(parts, "used "+usedText(api.Usage{Used: api.Bytes(e.Usage.Used), Limit: api.Bytes(e.Usage.Limit),
			Depleted: e.Usage.Depleted}))
	}
	if t := e.Transferred; t != nil {
		parts = append(parts, "moved ↓ "+amountText(api.Bytes(t.Download))+" ↑ "+amountText(api.Bytes(t.Upload)))
	}
	if e.Kind == eventstream.Missed && e.Count > 0 {
		parts = append(parts, fmt.Sprintf("%d events", e.Count))
	}
	if e.Problem != nil {
		parts = append(parts, e.Problem.Area+": "+e.Problem.What)
	}
	for _, words := range []string{e.Detail, e.Error} {
		if words != "" {
			parts = append(parts, words)
		}
	}
	line := strings.ReplaceAll(strings.Join(parts, "  "), "\n", " ")
	_, err := fmt.Fprintln(c, strings.TrimRight(Clean(line), " "))
	return err
}

// short is how a key begins.
func short(key string) string { return key[:min(8, len(key))] }
