package ask

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/waylume/waylume/cmd/waylumed/internal/console"
	"github.com/waylume/waylume/cmd/waylumed/internal/words"
	api "github.com/waylume/waylume/wgnode/httpapi/v1"
)

// WriteJSON writes a value as one document. A list of nothing is [].
func WriteJSON(w io.Writer, v any) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	return encoder.Encode(v)
}

// ShowPeers lists peers.
func ShowPeers(c console.Console, peers []api.Peer) error {
	if len(peers) == 0 {
		_, err := fmt.Fprintln(c, "There are no peers.")
		return err
	}
	rows := make([][]string, len(peers))
	for i, p := range peers {
		rows[i] = []string{
			p.Name, p.PublicKey.String()[:8], p.Account, addressText(p.Addresses, "\n"), Limit(p.SpeedLimit), Cap(p.DataCap),
			State(p), timeText(p.ExpiresAt, "never"),
		}
	}
	return writeTable(c, []column{
		{name: "Peer"}, {name: "Key"}, {name: "Account", spare: 2}, {name: "Addresses", spare: 3}, {name: "Speed limit", spare: 4},
		{name: "Data cap", spare: 5}, {name: "State"}, {name: "Expires", spare: 6},
	}, rows)
}

// ShowPeer shows a peer with what it used and how it is connected, so far as that is known.
func ShowPeer(c console.Console, p api.Peer, usage *api.Usage, quality *api.Quality) error {
	facts := [][2]string{
		{"Public key", p.PublicKey.String()}, {"Addresses", addressText(p.Addresses, ", ")}, {"Account", p.Account},
		{"Labels", labelText(p.Labels)}, {"State", State(p)}, {"Speed limit", Limit(p.SpeedLimit)}, {"Data cap", Cap(p.DataCap)},
		{"Expires", timeText(p.ExpiresAt, "never")}, {"Kept after", durationText(p.GracePeriod)}, {"Idle time-out",
			durationText(p.IdleTimeout)},
		{"Created", timeText(p.CreatedAt, "")},
	}
	if usage != nil {
		facts = append(facts, usageFacts(*usage)...)
	}
	if quality != nil {
		facts = append(facts, [2]string{"Connection", quality.State}, [2]string{"Handshake", timeText(quality.LastHandshake, "none")})
		if quality.Endpoint.IsValid() {
			facts = append(facts, [2]string{"Endpoint", quality.Endpoint.String()})
		}
		if quality.Window > 0 {
			facts = append(facts, [2]string{"Speed now", "↓ " + speedText(quality.Download) + " ↑ " + speedText(quality.Upload)})
		}
	}
	return writeFacts(c, "Peer "+Called(p), facts)
}

func usageFacts(u api.Usage) [][2]string {
	facts := [][2]string{{"Used", usedText(u)}}
	if !u.PeriodEnd.IsZero() {
		facts = append(facts, [2]string{"Period ends", timeText(u.PeriodEnd, "")})
	}
	return append(facts, [2]string{"Since added", "↓ " + amountText(u.Download) + " ↑ " + amountText(u.Upload)})
}

// ShowAccounts lists accounts.
func ShowAccounts(c console.Console, accounts []api.Account) error {
	if len(accounts) == 0 {
		_, err := fmt.Fprintln(c, "There are no accounts.")
		return err
	}
	rows := make([][]string, len(accounts))
	for i, a := range accounts {
		rows[i] = []string{
			a.ID, strconv.Itoa(a.Peers), Limit(a.SpeedLimit), Cap(a.DataCap), accountState(a), timeText(a.CreatedAt, ""),
		}
	}
	return writeTable(c, []column{
		{name: "Account"}, {name: "Peers", right: true}, {name: "Speed limit", spare: 1}, {name: "Data cap", spare: 2}, {name: "State"},
		{name: "Created", spare: 3},
	}, rows)
}

// ShowAccount shows an account with what it used, if that is known.
func ShowAccount(c console.Console, a api.Account, usage *api.Usage) error {
	facts := [][2]string{
		{"Peers", strconv.Itoa(a.Peers)}, {"Labels", labelText(a.Labels)}, {"State", accountState(a)},
		{"Speed limit", Limit(a.SpeedLimit)}, {"Data cap", Cap(a.DataCap)}, {"Created", timeText(a.CreatedAt, "")},
	}
	if usage != nil {
		facts = append(facts, usageFacts(*usage)...)
	}
	return writeFacts(c, "Account "+a.ID, facts)
}

// ShowNode shows the node, and what is wrong with it.
func ShowNode(c console.Console, n api.Node) error {
	state := n.State
	if n.Draining {
		state += ", draining: new peers are refused"
	}
	facts := [][2]string{
		{"State", state}, {"Since", timeText(n.Since, "")}, {"Version", n.Version}, {"Dataplane", n.Dataplane},
		{"Public key", keyText(n.PublicKey)}, {"Peers", strconv.Itoa(n.Peers)}, {"Accounts", strconv.Itoa(n.Accounts)},
	}
	if n.FormerKey != (api.Key{}) {
		facts = append(facts, [2]string{"Former key", fmt.Sprintf("%s, until %s, of %d peers", n.FormerKey, timeText(n.OverlapEnds,
			""), n.FormerKeyPeers)})
	}
	if n.ListenPort > 0 {
		facts = append(facts, [2]string{"UDP port", strconv.Itoa(int(n.ListenPort))})
	}
	for _, p := range n.Pool {
		facts = append(facts, [2]string{"Addresses", fmt.Sprintf("%s: %d of %d are leased, %d rest, %d are free",
			p.Family, p.Leased, p.Capacity, p.Quarantined, p.Free)})
	}
	for _, l := range n.Limitations {
		facts = append(facts, [2]string{"Limitation", l})
	}
	if err := writeFacts(c, "Node", facts); err != nil {
		return err
	}
	if len(n.Problems) == 0 {
		_, err := fmt.Fprintf(c, "%s Nothing is known to be wrong.\n", c.Mark(true))
		return err
	}
	for _, p := range n.Problems {
		if _, err := fmt.Fprintf(c, "%s %s, since %s: %s\n", c.Mark(false), Clean(p.Area), timeText(p.Since, "now"),
			Clean(p.What)); err != nil {
			return err
		}
	}
	return nil
}

func accountState(a api.Account) string {
	if a.Suspended {
		return "suspended"
	}
	return "active"
}

func labelText(labels map[string]string) string {
	texts := make([]string, 0, len(labels))
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		texts = append(texts, name+"="+labels[name])
	}
	return strings.Join(texts, ", ")
}

func durationText(d api.Duration) string {
	if d == 0 {
		return ""
	}
	return words.InWords(time.Duration(d))
}

func keyText(k api.Key) string {
	if k == (api.Key{}) {
		return ""
	}
	return k.String()
}
