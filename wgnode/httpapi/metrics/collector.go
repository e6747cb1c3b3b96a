package metrics

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/waylume/waylume/ipam"
	"github.com/waylume/waylume/isolation"
	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/httpapi/internal/pseudonym"
)

// Node is what is asked of a [wgnode.Node].
type Node interface {
	Status(ctx context.Context) (wgnode.Status, error)
	Totals() wgnode.Totals
	PeerQualities() ([]wgnode.PeerQuality, error)
}

const (
	// DefaultMaxPeers is how many peers have series of their own.
	DefaultMaxPeers = 1000
	// DefaultTimeout is how long a dataplane may take to answer a scrape.
	DefaultTimeout = 5 * time.Second
)

// Options say what a collector tells. The zero value tells of no single peer.
type Options struct {
	// Version is the program's, for waylume_node_info.
	Version string
	// PerPeer adds the series of single peers, which /metrics/peers has anyway.
	PerPeer bool
	// MaxPeers bounds how many peers have series of their own: those that were added first. 0: DefaultMaxPeers.
	MaxPeers int
	// Redaction is "off", by which peers are named by their public keys, or "partial", "strict" or "", by which it is a hash: the first
	// 64 bits of the key's SHA-256. It holds for the node's own key, too.
	Redaction string
	// Timeout is how long the dataplane may take to answer. 0: DefaultTimeout.
	Timeout time.Duration
}

func (o Options) withDefaults() (Options, error) {
	if err := pseudonym.Mode(o.Redaction).Check(); err != nil {
		return o, fmt.Errorf("metrics: Options.Redaction: %w", err)
	}
	if o.MaxPeers < 0 {
		return o, fmt.Errorf("metrics: Options.MaxPeers is %d: give 1 or more, or 0 for %d", o.MaxPeers, DefaultMaxPeers)
	}
	if o.Timeout < 0 {
		return o, fmt.Errorf("metrics: Options.Timeout is %v: give a positive time, or 0 for %v", o.Timeout, DefaultTimeout)
	}
	if o.MaxPeers == 0 {
		o.MaxPeers = DefaultMaxPeers
	}
	if o.Timeout == 0 {
		o.Timeout = DefaultTimeout
	}
	return o, nil
}

// Collector reads a node for each scrape.
type Collector struct {
	node       Node
	opts       Options
	descs      descs
	peers      *peerCollector // nil: no series of single peers
	reasons    known
	unanswered atomic.Uint64
}

var _ prometheus.Collector = (*Collector)(nil)

// NewCollector returns a collector for a node, which need not be started. It refuses options that are out of range.
//
// A scrape costs [wgnode.Node.Totals] and [wgnode.Node.Status]: for 10,000 peers less than a millisecond, and what the dataplane takes
// to read its counters of dropped packets, about twenty in the kernel, whatever the number of peers.
func NewCollector(node Node, opts Options) (*Collector, error) {
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	c := &Collector{node: node, opts: opts, descs: describe(nodeFamilies()), reasons: knownOf(DropReasons()...)}
	if opts.PerPeer {
		c.peers = newPeerCollector(node, opts, opts.MaxPeers)
	}
	return c, nil
}

// DropReasons are the causes of dropped packets that any dataplane of this module counts, as the label reason has them.
func DropReasons() []string {
	all := []string{"no-peer", "data-cap", "untracked", "closed", "other-uplink", "redirect", "control-port"}
	for r := isolation.ReasonMalformed; r < isolation.NumReasons; r++ {
		all = append(all, words(r))
	}
	return all
}

// Describe implements [prometheus.Collector].
func (c *Collector) Describe(ch chan<- *prometheus.Desc) {
	c.descs.describe(ch)
	if c.peers != nil {
		c.peers.Describe(ch)
	}
}

// Collect implements [prometheus.Collector].
func (c *Collector) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), c.opts.Timeout)
	defer cancel()
	status, err := c.node.Status(ctx)
	if err != nil {
		c.unanswered.Add(1)
	}
	totals := c.node.Totals()
	send := func(name string, value float64, labels ...string) { c.descs.send(ch, name, value, labels...) }
	c.sendNode(send, status, totals)
	sendTasks(send, totals)
	sendPeers(send, totals)
	sendPool(send, status.Pool)
	sendEvents(send, totals)
	if err == nil && !status.Since.IsZero() { // else a counter would seem to begin anew
		c.sendDrops(send, status.Dropped)
	}
	if c.peers != nil {
		c.peers.Collect(ch)
	}
}

type sender func(name string, value float64, labels ...string)

func (send sender) at(name string, t time.Time, labels ...string) {
	if !t.IsZero() {
		send(name, seconds(t), labels...)
	}
}

func seconds(t time.Time) float64 { return float64(t.UnixNano()) / 1e9 }

func one(is bool) float64 {
	if is {
		return 1
	}
	return 0
}

func (c *Collector) sendNode(send sender, status wgnode.Status, totals wgnode.Totals) {
	for _, state := range []string{"idle", "starting", "running", "closing", "closed"} {
		send("waylume_node_state", one(state == totals.State), state)
	}
	problems := make(map[wgnode.ProblemKind]wgnode.HealthProblem, len(status.Problems))
	for _, p := range status.Problems {
		problems[p.Kind] = p
	}
	for _, kind := range wgnode.ProblemKinds() {
		p, is := problems[kind]
		send("waylume_node_problem", one(is), kind.String(), hyphenated(kind.Area()))
		send.at("waylume_node_problem_since_timestamp_seconds", p.Since, kind.String())
	}
	send("waylume_node_unanswered_scrapes_total", float64(c.unanswered.Load()))
	if status.Since.IsZero() {
		return
	}
	send("waylume_node_info", 1, c.opts.Version, status.Dataplane, pseudonym.Mode(c.opts.Redaction).Peer(status.PublicKey))
	send.at("waylume_node_start_timestamp_seconds", status.Since)
	send("waylume_node_limitations", float64(len(status.Limitations)))
	send.at("waylume_node_synced_timestamp_seconds", status.SyncedAt)
	send("waylume_node_key_overlap", one(!status.OverlapEnds.IsZero()))
	send.at("waylume_node_key_overlap_end_timestamp_seconds", status.OverlapEnds)
	send("waylume_node_former_key_peers", float64(totals.FormerKeyPeers))
}

func sendTasks(send sender, totals wgnode.Totals) {
	for name, t := range map[string]wgnode.TaskTotals{"sync": totals.Syncs, "checkpoint": totals.Checkpoints} {
		send("waylume_node_"+name+"s_total", float64(t.Runs-t.Failures), "success")
		send("waylume_node_"+name+"s_total", float64(t.Failures), "failure")
		send("waylume_node_"+name+"_seconds_total", t.Time.Seconds())
	}
	send.at("waylume_node_checkpointed_timestamp_seconds", totals.CheckpointedAt)
}

func sendPeers(send sender, totals wgnode.Totals) {
	send("waylume_peers", float64(totals.Active), "active")
	send("waylume_peers", float64(totals.Suspended), "suspended")
	send("waylume_peers", float64(totals.Expired), "expired")
	for state, count := range totals.Connections {
		send("waylume_peer_connections", float64(count), words(state))
	}
	send("waylume_recent_handshakes", float64(totals.Handshakes.Failed), "failure")
	send("waylume_recent_handshakes", float64(totals.Handshakes.Attempts-totals.Handshakes.Failed), "success")
	for reason, count := range totals.Removals {
		send("waylume_removed_peers_total", float64(count), reason.String())
	}
	send("waylume_accounts", float64(totals.Accounts))
	send("waylume_traffic_bytes_total", float64(totals.Passed.Download), "download")
	send("waylume_traffic_bytes_total", float64(totals.Passed.Upload), "upload")
}

func sendPool(send sender, pool []ipam.Stats) {
	for _, s := range pool {
		family := strings.ToLower(s.Family.String())
		send("waylume_pool_addresses", float64(s.Free), family, "free")
		send("waylume_pool_addresses", float64(s.Leased), family, "leased")
		send("waylume_pool_addresses", float64(s.Quarantined), family, "quarantined")
	}
}

// sendEvents sends what may happen also while it never has, so that its first time is an increase.
func sendEvents(send sender, totals wgnode.Totals) {
	for kind, count := range totals.Events {
		subjects := subjectsOf(kind)
		for subject, n := range map[string]uint64{"peer": count.Peers, "account": count.Accounts, "node": count.Node} {
			if n > 0 || slices.Contains(subjects, subject) {
				send("waylume_events_total", float64(n), kind.String(), subject)
			}
		}
	}
	send("waylume_events_missed_total", float64(totals.Missed))
}

// subjectsOf says whom events of a kind concern.
func subjectsOf(kind wgnode.EventKind) []string {
	switch kind {
	case wgnode.Repaired:
		return []string{"peer", "account", "node"}
	case wgnode.UsageThreshold, wgnode.CapReached, wgnode.PeriodStarted:
		return []string{"peer", "account"}
	}
	if subject, _, _ := strings.Cut(kind.String(), "-"); subject == "peer" || subject == "account" {
		return []string{subject}
	}
	return []string{"node"}
}

func (c *Collector) sendDrops(send sender, dropped map[string]uint64) {
	counts := make(map[string]uint64, len(c.reasons)+1)
	counts[other] = 0
	for reason := range c.reasons {
		counts[reason] = 0
	}
	for reason, n := range dropped {
		counts[c.reasons.of(hyphenated(reason))] += n
	}
	for reason, n := range counts {
		send("waylume_dropped_packets_total", float64(n), reason)
	}
}
