package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

type certificate struct {
	descs descs
	ends  func() time.Time
}

// NewCertificate returns a collector of when the API's certificate ends, which is asked at each scrape, as it may be loaded anew; a zero
// time means that there is none.
func NewCertificate(ends func() time.Time) prometheus.Collector {
	return &certificate{describe(certificateFamilies()), ends}
}

// Describe implements [prometheus.Collector].
func (c *certificate) Describe(ch chan<- *prometheus.Desc) { c.descs.describe(ch) }

// Collect implements [prometheus.Collector].
func (c *certificate) Collect(ch chan<- prometheus.Metric) {
	send := sender(func(name string, value float64, labels ...string) { c.descs.send(ch, name, value, labels...) })
	send.at("waylume_tls_certificate_expiry_timestamp_seconds", c.ends())
}
