package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/httpapi/internal/pseudonym"
)

// peerCollector has series of single peers: of those that were added first.
type peerCollector struct {
	node  Node
	mode  pseudonym.Mode
	most  int
	descs descs
}

func newPeerCollector(node Node, opts Options, most int) *peerCollector {
	return &peerCollector{node: node, mode: pseudonym.Mode(opts.Redaction), most: most, descs: describe(peerFamilies())}
}

// Describe implements [prometheus.Collector].
func (c *peerCollector) Describe(ch chan<- *prometheus.Desc) { c.descs.describe(ch) }

// Collect implements [prometheus.Collector]. It asks the node alone, which knows what it has last read.
func (c *peerCollector) Collect(ch chan<- prometheus.Metric) {
	peers, err := c.node.PeerQualities()
	if err != nil {
		return // the node does not run, which waylume_node_state says
	}
	send := sender(func(name string, value float64, labels ...string) { c.descs.send(ch, name, value, labels...) })
	shown := peers[:min(len(peers), c.most)]
	send("waylume_peers_left_out", float64(len(peers)-len(shown)))
	for _, p := range shown {
		name := c.mode.Peer(p.PublicKey)
		session := p.State == wgnode.ConnectionOnline || p.State == wgnode.ConnectionIdle
		send("waylume_peer_up", one(session), name)
		if p.ReadAt.IsZero() { // a counter would seem to begin anew
			continue
		}
		send("waylume_peer_traffic_bytes_total", float64(p.Counters.Download), name, "download")
		send("waylume_peer_traffic_bytes_total", float64(p.Counters.Upload), name, "upload")
		send.at("waylume_peer_last_handshake_timestamp_seconds", p.LastHandshake, name)
		send("waylume_peer_endpoint_changes_total", float64(p.EndpointChanges), name)
	}
}
