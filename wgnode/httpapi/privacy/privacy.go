// Package privacy says what a node keeps of its customers and of those who ask it for something: what it is, why it is kept,
// where, for how long, and which setting says so. It is made from the settings as they are in force, for programs and for people.
//
//	mux.Handle("GET /api/v1/privacy", privacy.Handler(func() privacy.Settings { return current() }))
package privacy

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// Settings are what of a daemon's configuration says what is kept. A time of 0 is what its field says.
type Settings struct {
	// DurableState: peers and accounts are in a file; otherwise in memory, for as long as the process lives.
	DurableState bool
	// Quarantine is how long an address is not given to another peer.
	Quarantine time.Duration
	// UsageLogPeriod is how often usage is written, and UsageRetention how long it is kept; 0: there is no usage log.
	UsageLogPeriod time.Duration
	UsageRetention time.Duration
	// AuditRetention is how long the audit log is kept at least, and AuditSegmentAge how old its segments become; 0: there is no
	// audit log.
	AuditRetention  time.Duration
	AuditSegmentAge time.Duration
	// AuditSources is how the audit log has addresses: "off", "partial" or "strict", as package redact.
	AuditSources string
	// LogRedaction is how the daemon's log has addresses, keys, accounts and names: "off", "partial" or "strict".
	LogRedaction string
	// Idempotency is how long answers are kept to be given again; 0: they are not.
	Idempotency time.Duration
	// EventBuffer is how many events are kept for readers that fall behind.
	EventBuffer int
	// PeerMetrics: metrics have a series for each peer.
	PeerMetrics bool
	// Registry: a fleet's directory is told of the node. RegistryUsage: and of what each peer used.
	Registry, RegistryUsage bool
	// Traces: requests are traced to an endpoint.
	Traces bool
}

// Item is a kind of data that a node keeps, or, where Kept is "never", that it does not.
type Item struct {
	Data    string `json:"data" doc:"What it is."`
	Purpose string `json:"purpose" doc:"Why it is kept."`
	Where   string `json:"where" doc:"Where it is."`
	Kept    string `json:"kept" doc:"For how long, in words."`
	// Seconds is the longest time that Kept says, if it says one.
	Seconds int64  `json:"kept_seconds,omitempty" doc:"The longest time, in seconds, if there is one."`
	Setting string `json:"setting,omitempty" doc:"Which setting says so."`
}

// Report is the body of an answer.
type Report struct {
	Items []Item `json:"items" doc:"What is kept, and what is not."`
}

// Make returns what a node with these settings keeps.
func Make(s Settings) Report {
	return Report{Items: append(append(peers(s), logs(s)...), never()...)}
}

// Never is what Item.Kept is of what is not kept.
const Never = "never"

func peers(s Settings) []Item {
	where := "memory"
	if s.DurableState {
		where = "state file (node.db)"
	}
	return []Item{
		{
			Data:    "Peers: public key, preshared key, tunnel addresses, name, labels, account, limits, data cap, times of expiry",
			Purpose: "to serve the peer", Where: where, Kept: "until the peer is removed, expires, or is idle for its time",
			Setting: "the peer's own: expires_at, grace_period, idle_timeout",
		},
		{
			Data: "Accounts: ID, labels, limits, data cap", Purpose: "to share limits and caps among peers",
			Where: where, Kept: "until the account is removed",
		},
		{
			Data:    "Bytes that each peer and account has used since it was added, and in the current period",
			Purpose: "data caps, billing",
			Where:   where, Kept: "until the peer or the account is removed",
		},
		timed(Item{
			Data:    "Private keys of peers that the node has made",
			Purpose: "to hand them out: once, or again to who sends the same request with its idempotency key",
			Where:   "in that answer alone: " + answers(s), Setting: "idempotency retention",
		}, s.Idempotency, 0),
		timed(Item{
			Data:    "Tunnel addresses that a removed peer had",
			Purpose: "nobody gets another's address while packets to it are still on their way",
			Where:   where, Setting: "address quarantine",
		}, s.Quarantine, 0),
		{
			Data:    "Address and port that a peer last connected from, time of its last handshake, throughput, share of failed handshakes",
			Purpose: "WireGuard answers there; to tell how a peer is connected", Where: "memory",
			Kept: "until the peer leaves or the process ends; the address changes with the peer's",
		},
		{
			Data: "Flows that are open: addresses and ports of both sides", Purpose: "to bring answers back to who asked",
			Where: "memory of the process, or the kernel's connection tracking",
			Kept:  "until the flow ends or times out; nothing is written of it",
		},
	}
}

func logs(s Settings) []Item {
	items := []Item{
		timed(Item{
			Data:    "Bytes used by each peer (public key) and account (ID) over time",
			Purpose: "what was used in an hour or a day, also by who is gone",
			Where:   "usage log, a reading every " + spell(s.UsageLogPeriod), Setting: "usage log retention",
		}, s.UsageRetention, 3*day), // segments of a day, until the last day but one says that they are old
		timed(Item{
			Data: "Changes: who asked (name, method and id of the key), from where (" + sources(s.AuditSources) +
				"), what (operation, public keys, account IDs), and what became of it",
			Purpose: "to know afterwards who has changed what",
			Where:   "audit log",
			Setting: "audit retention, audit source addresses",
		}, s.AuditRetention, 2*s.AuditSegmentAge+2*time.Minute),
		timed(Item{
			Data:    "Answers to requests with an idempotency key",
			Purpose: "the same request gets the same answer, and is not done twice",
			Where:   answers(s), Setting: "idempotency retention",
		}, s.Idempotency, 0),
		{
			Data:    "Hashes of the names of tokens that requests were signed with",
			Purpose: "a request that somebody has overheard counts once",
			Where:   "two files beside the state, of twice the life of a token each", Kept: "until newer ones take their place",
		},
		{
			Data:    "Addresses that requests came from, of an IPv6 address its /64: how many, and how many failed to say who makes them",
			Purpose: "limits of rates and connections, delays for who guesses",
			Where:   "memory", Kept: "until newer ones take their place or the process ends",
		},
		{
			Data:    fmt.Sprintf("Events: the last %d, with public keys and account IDs", s.EventBuffer),
			Purpose: "readers that were away a moment",
			Where:   "memory",
			Kept:    "until newer ones take their place or the process ends",
			Setting: "event buffer",
		},
		{
			Data:    "What the daemon logs: " + logged(s.LogRedaction),
			Purpose: "to run the node",
			Where:   "standard error: the system's journal, or where that leads",
			Kept:    "as the system that takes it says",
			Setting: "log redaction",
		},
	}
	if s.PeerMetrics {
		items = append(items, Item{
			Data:    "Metrics of each peer, by its public key",
			Purpose: "to watch single peers",
			Where:   "memory; the monitoring that reads them",
			Kept:    "as the monitoring says", Setting: "metrics of each peer",
		})
	}
	if s.Registry {
		items = append(items, Item{
			Data:    "The node's name, addresses, public key, load and number of peers",
			Purpose: "clients are sent to a node that has room",
			Where:   "the fleet's registry", Kept: "as the registry says", Setting: "registry",
		})
	}
	if s.Registry && s.RegistryUsage {
		items = append(items, Item{
			Data:    "What each peer used: its public key, bytes, and the time that they are of, an hour at most",
			Purpose: "to show use, and bill for it",
			Where:   "the fleet's registry", Kept: "as the registry says", Setting: "registry usage",
		})
	}
	if s.Traces {
		items = append(items, Item{
			Data:    "Traces of requests: route, status, times, " + traced(s.LogRedaction),
			Purpose: "to see where time goes",
			Where:   "the endpoint that traces are sent to",
			Kept:    "as that says", Setting: "traces endpoint",
		})
	}
	return items
}

func never() []Item {
	return []Item{
		{
			Data:    "Contents of traffic",
			Purpose: "it is passed on, not looked at beyond its headers",
			Where:   "nowhere",
			Kept:    Never,
		},
		{
			Data:    "Which addresses or names a peer has reached, and when",
			Purpose: "it is needed for nothing once a flow is over",
			Where:   "nowhere",
			Kept:    Never,
		},
		{Data: "Names that peers resolve", Purpose: "the node runs no resolver", Where: "nowhere", Kept: Never},
	}
}

const day = 24 * time.Hour

// timed sets how long an item is kept: at least for, and up to more on top. No time: it is not kept at all.
func timed(i Item, kept, more time.Duration) Item {
	if kept == 0 {
		i.Kept, i.Where = Never, "nowhere"
		return i
	}
	i.Kept, i.Seconds = spell(kept), int64((kept+more)/time.Second)
	if more > 0 {
		i.Kept += ", and up to " + spell(more) + " more until its file is deleted"
	}
	return i
}

// answers is where those to requests with an idempotency key are.
func answers(s Settings) string {
	if s.DurableState {
		return "a file beside the state, sealed with the client's key, which is not in it"
	}
	return "memory"
}

func sources(mode string) string {
	switch mode {
	case "off":
		return "the whole address"
	case "partial":
		return "a /24 or a /48"
	}
	return "no address"
}

func logged(mode string) string {
	switch mode {
	case "off":
		return "with addresses, keys, account IDs and names"
	case "partial":
		return "addresses as /24 or /48, keys as their first 6 characters, accounts and names as numbers of this process"
	}
	return "without addresses, keys, account IDs and names"
}

func traced(mode string) string {
	if mode == "off" {
		return "public keys of peers, IDs of accounts"
	}
	return "a hash of each peer's public key"
}

// spell is a time in words: days, hours, minutes, seconds, whatever is not zero of them.
func spell(d time.Duration) string {
	var words []string
	for _, unit := range []struct {
		name string
		is   time.Duration
	}{{"day", day}, {"hour", time.Hour}, {"minute", time.Minute}, {"second", time.Second}} {
		if n := d / unit.is; n > 0 {
			plural := "s"
			if n == 1 {
				plural = ""
			}
			words = append(words, fmt.Sprintf("%d %s%s", n, unit.name, plural))
			d %= unit.is
		}
	}
	if words == nil {
		return "no time"
	}
	return strings.Join(words, " ")
}

// Markdown is the report as a table.
func (r Report) Markdown() string {
	var b strings.Builder
	b.WriteString("| what | why | where | how long | setting |\n|---|---|---|---|---|\n")
	for _, i := range r.Items {
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", i.Data, i.Purpose, i.Where, i.Kept, i.Setting)
	}
	return b.String()
}

// Handler answers with what is kept with the settings as they are at the time.
func Handler(settings func() Settings) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		body, err := json.Marshal(Make(settings()))
		if err != nil { // texts and numbers always can
			panic(err)
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		_, _ = w.Write(append(body, '\n')) // the caller is gone, then
	})
}
