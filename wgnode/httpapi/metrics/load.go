package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/waylume/waylume/registry"
)

type load struct {
	descs descs
	load  func() registry.Load
}

// NewLoad returns a collector of how loaded a node is, and what that calls for. It is asked at each scrape.
func NewLoad(l func() registry.Load) prometheus.Collector {
	return &load{describe(loadFamilies()), l}
}

// Describe implements [prometheus.Collector].
func (c *load) Describe(ch chan<- *prometheus.Desc) { c.descs.describe(ch) }

// Collect implements [prometheus.Collector].
func (c *load) Collect(ch chan<- prometheus.Metric) {
	send := sender(func(name string, value float64, labels ...string) { c.descs.send(ch, name, value, labels...) })
	const bits = 8 // Prometheus counts in bytes
	l := c.load()
	send("waylume_load_score", l.Score)
	for resource, fraction := range map[string]*float64{
		"cpu": l.CPU, "memory": l.Memory, "conntrack": l.Conntrack, "uplink": l.Uplink, "peers": l.Peers,
	} {
		if fraction != nil {
			send("waylume_load_fraction", *fraction, resource)
		}
	}
	send("waylume_load_uplink_bytes_per_second", float64(l.ReceivedRate)/bits, "received")
	send("waylume_load_uplink_bytes_per_second", float64(l.SentRate)/bits, "sent")
	send("waylume_load_uplink_packets_per_second", float64(l.ReceivedPackets), "received")
	send("waylume_load_uplink_packets_per_second", float64(l.SentPackets), "sent")
	scaling := l.Scaling
	if scaling == "" {
		scaling = registry.Steady
	}
	send.oneOf("waylume_scaling_signal", string(scaling), []string{
		string(registry.Steady), string(registry.ScaleOut), string(registry.ScaleIn), other,
	})
}
