package demo

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/waylume/waylume/shaping"
)

// Schema names the form of a Report as JSON. Fields may be added to it; none is renamed, removed or given another meaning
// without another name here.
const Schema = "waylume.demo/1"

// Report is what the demonstration found. As JSON, rates are numbers of bit/s of inner IP packets, amounts numbers of
// bytes of inner IP packets, and times numbers of milliseconds, as the names say.
type Report struct {
	Schema string `json:"schema"`
	// OK reports that every row holds.
	OK        bool      `json:"ok"`
	StartedAt time.Time `json:"started_at"`
	// DurationMS is how long it all took.
	DurationMS int64         `json:"duration_ms"`
	Node       Node          `json:"node"`
	Speeds     []Speed       `json:"speeds"`
	Shared     []SharedLimit `json:"account_limits"`
	Caps       []Cap         `json:"data_caps"`
	Throttles  []Throttle    `json:"throttles"`
	Probes     []Probe       `json:"isolation"`
}

// Node is the node that was put to the test.
type Node struct {
	Dataplane   string   `json:"dataplane"`
	ListenPort  uint16   `json:"listen_port"`
	MTU         int      `json:"mtu_bytes"`
	Limitations []string `json:"limitations"`
}

// Verdict says whether a row holds.
type Verdict struct {
	OK bool `json:"ok"`
	// Attempts is how often it was measured, 1 to 3: a busy machine gets more than one chance.
	Attempts int `json:"attempts"`
	// Problems say what does not hold, and with what it was compared; empty if OK.
	Problems []string `json:"problems,omitempty"`
}

func (v *Verdict) verdict() *Verdict { return v }

// expect notes a problem unless the condition holds.
func (v *Verdict) expect(holds bool, format string, args ...any) {
	if !holds {
		v.Problems = append(v.Problems, fmt.Sprintf(format, args...))
	}
}

// Rate is a limit and what came of it.
type Rate struct {
	Configured shaping.Rate `json:"-"`
	// ConfiguredBPS is the limit in force.
	ConfiguredBPS uint64 `json:"configured_bps"`
	// MeasuredBPS is what was delivered, in inner IP packets.
	MeasuredBPS uint64 `json:"measured_bps"`
	// GoodputBPS is what the application got of it: without headers, and without what was sent twice.
	GoodputBPS uint64 `json:"goodput_bps"`
	// ErrorPercent is how far MeasuredBPS is off ConfiguredBPS.
	ErrorPercent float64 `json:"error_percent"`
}

func newRate(configured shaping.Rate, bytes, payload uint64, d time.Duration) Rate {
	perSecond := func(n uint64) uint64 { return uint64(float64(n) * 8 / d.Seconds()) }
	r := Rate{Configured: configured, ConfiguredBPS: uint64(configured), MeasuredBPS: perSecond(bytes), GoodputBPS: perSecond(payload)}
	r.ErrorPercent = round(100*(float64(r.MeasuredBPS)/float64(r.ConfiguredBPS)-1), 2)
	return r
}

// within notes a problem when the rate is off by more than so many percent.
func (v *Verdict) within(what string, r Rate, percent float64) {
	v.expect(math.Abs(r.ErrorPercent) <= percent, "%s: measured %s where %s is configured: %+.1f %%, more than ±%g %%",
		what, mbit(r.MeasuredBPS), mbit(r.ConfiguredBPS), r.ErrorPercent, percent)
}

// RTT is a series of round trips of small UDP datagrams to a server and back.
type RTT struct {
	Sent     int     `json:"sent"`
	Lost     int     `json:"lost"`
	MedianMS float64 `json:"median_ms"`
	P95MS    float64 `json:"p95_ms"`
}

func newRTT(trips []time.Duration, sent int) RTT {
	r := RTT{Sent: sent, Lost: max(0, sent-len(trips))}
	if len(trips) == 0 {
		return r
	}
	slices.Sort(trips)
	at := func(q float64) float64 {
		return round(float64(trips[int(q*float64(len(trips)-1)+0.5)])/float64(time.Millisecond), 3)
	}
	r.MedianMS, r.P95MS = at(0.5), at(0.95)
	return r
}

func round(x float64, digits int) float64 {
	shift := math.Pow10(digits)
	return math.Round(x*shift) / shift
}

// Speed is a peer's speed limit, and its latency while nothing else and while a download runs.
type Speed struct {
	Peer      string `json:"peer"`
	Account   string `json:"account"`
	Transport string `json:"transport"` // "tcp" or "udp"
	Family    string `json:"family"`    // "ipv4" or "ipv6"
	Download  Rate   `json:"download"`
	Upload    Rate   `json:"upload"`
	IdleRTT   RTT    `json:"idle_rtt"`
	LoadedRTT RTT    `json:"loaded_rtt"`
	Verdict
}

// SharedLimit is an account's limit that several peers use at once, each as hard as it can.
type SharedLimit struct {
	Account  string  `json:"account"`
	Download Rate    `json:"download"`
	Shares   []Share `json:"shares"`
	Verdict
}

// Share is one peer's part of an account's limit.
type Share struct {
	Peer string `json:"peer"`
	// Streams is how many TCP connections the peer uses: more of them must not get it more.
	Streams int `json:"streams"`
	// Rate compares with an equal part.
	Rate
}

// Cap is a data cap that blocks, run into at full speed.
type Cap struct {
	Peer     string `json:"peer"`
	CapBytes uint64 `json:"cap_bytes"`
	// NodeBytes is what the node counted when it cut the peer off, WitnessBytes what reached the client by its own count.
	NodeBytes    uint64 `json:"node_bytes"`
	WitnessBytes uint64 `json:"witness_bytes"`
	// OvershootBytes is what passed beyond the cap, by whichever count is higher.
	OvershootBytes uint64 `json:"overshoot_bytes"`
	// UnusedBytes is what is left of the cap, too small for the packet that came next.
	UnusedBytes uint64 `json:"unused_bytes"`
	// AfterBytes is what passed in either direction after the cut, while client and server went on trying.
	AfterBytes uint64 `json:"after_bytes"`
	Verdict
}

// Throttle is a data cap that slows down.
type Throttle struct {
	Peer     string `json:"peer"`
	CapBytes uint64 `json:"cap_bytes"`
	Before   Rate   `json:"before"`
	After    Rate   `json:"after"`
	Verdict
}

// Probe is an attempt to reach something.
type Probe struct {
	Name string `json:"name"`
	From string `json:"from"`
	// Source is set when it is not the peer's own address.
	Source string `json:"source,omitempty"`
	Target string `json:"target"`
	// Expected and Got are "blocked" or "reached"; Got is "unclear" when there is no proof of either.
	Expected string `json:"expected"`
	Got      string `json:"got"`
	// Evidence says what proves it, in words.
	Evidence string `json:"evidence"`
	// PacketsSent is how many packets left the client, DialsAsked how often the node's dialer was asked for the target, and
	// TargetSaw how many connections or datagrams arrived there.
	PacketsSent int `json:"packets_sent"`
	DialsAsked  int `json:"dials_asked"`
	TargetSaw   int `json:"target_saw"`
	// DropReason is the node's counter under which such packets are dropped, DropsCounted how much it rose meanwhile, by
	// other probes that run at the same time too. A spoofed source is dropped by WireGuard itself, which keeps no such counter.
	DropReason   string `json:"drop_reason,omitempty"`
	DropsCounted uint64 `json:"drops_counted"`
	Verdict
}

// rows are the verdicts of all rows.
func (r *Report) rows() []*Verdict {
	var rows []*Verdict
	for i := range r.Speeds {
		rows = append(rows, &r.Speeds[i].Verdict)
	}
	for i := range r.Shared {
		rows = append(rows, &r.Shared[i].Verdict)
	}
	for i := range r.Caps {
		rows = append(rows, &r.Caps[i].Verdict)
	}
	for i := range r.Throttles {
		rows = append(rows, &r.Throttles[i].Verdict)
	}
	for i := range r.Probes {
		rows = append(rows, &r.Probes[i].Verdict)
	}
	return rows
}

func mbit(bps uint64) string { return fmt.Sprintf("%.2f Mbit/s", float64(bps)/1e6) }
