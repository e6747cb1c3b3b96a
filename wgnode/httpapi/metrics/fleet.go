package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// FleetState is what a node knows of its place in a fleet, as package membership has it.
type FleetState struct {
	// Phase is one of FleetPhases.
	Phase      string
	Registered bool
	// LastSuccess is when the fleet last answered without an error; zero: never.
	LastSuccess time.Time
	// Failures are those since then.
	Failures int
	// Breaker is "closed", "open" or "half-open".
	Breaker string
	// ClockOffset is how far the fleet's clock is ahead of this one.
	ClockOffset time.Duration
	// Draining is what the node wants, FleetDraining what the fleet does.
	Draining, FleetDraining bool
	// Released is the sequence of the last release that was carried out; PendingReleases are known and were not.
	Released        int64
	PendingReleases int
	// PendingUsage waits to be taken; UsageReportedTo is up to when it was taken; LostUsage counts how often some was lost.
	PendingUsage    bool
	UsageReportedTo time.Time
	LostUsage       int
	// Heartbeats, Registrations and Reports were asked; Failed are calls of all kinds that failed.
	Heartbeats, Registrations, Reports, Failed int64
	// ReleaseFault, UsageFault and FileFault: the last try to carry out releases, to report usage, to write the state file failed.
	ReleaseFault, UsageFault, FileFault bool
}

// FleetPhases are how a node may stand with its fleet, as the label phase has them.
func FleetPhases() []string {
	return []string{"joining", "joined", "outage", "denied", "name_taken", "refused", "superseded", "left"}
}

type fleet struct {
	descs descs
	state func() FleetState
}

// NewFleet returns a collector of how a node stands with its fleet, which is asked at each scrape.
func NewFleet(state func() FleetState) prometheus.Collector {
	return &fleet{describe(fleetFamilies()), state}
}

// Describe implements [prometheus.Collector].
func (c *fleet) Describe(ch chan<- *prometheus.Desc) { c.descs.describe(ch) }

// Collect implements [prometheus.Collector].
func (c *fleet) Collect(ch chan<- prometheus.Metric) {
	send := sender(func(name string, value float64, labels ...string) {
		c.descs.send(ch, "waylume_fleet_"+name, value, labels...)
	})
	s := c.state()
	send.oneOf("phase", s.Phase, append(FleetPhases(), other))
	send.oneOf("breaker", s.Breaker, []string{"closed", "open", "half-open", other})
	send("registered", one(s.Registered))
	send.at("last_success_timestamp_seconds", s.LastSuccess)
	send("failures", float64(s.Failures))
	send("clock_offset_seconds", s.ClockOffset.Seconds())
	send("draining", one(s.Draining), "node")
	send("draining", one(s.FleetDraining), "fleet")
	send("calls_total", float64(s.Heartbeats), "heartbeat")
	send("calls_total", float64(s.Registrations), "register")
	send("calls_total", float64(s.Reports), "report-usage")
	send("failed_calls_total", float64(s.Failed))
	send("releases_total", float64(s.Released))
	send("pending_releases", float64(s.PendingReleases))
	send("usage_pending", one(s.PendingUsage))
	send.at("usage_reported_timestamp_seconds", s.UsageReportedTo)
	send("usage_lost_total", float64(s.LostUsage))
	send("fault", one(s.ReleaseFault), "release")
	send("fault", one(s.UsageFault), "usage")
	send("fault", one(s.FileFault), "state-file")
}

// oneOf sends 1 for the value that is so and 0 for the others. The last of them is for any value that is not among them.
func (send sender) oneOf(name, value string, values []string) {
	value = knownOf(values...).of(value)
	for _, v := range values {
		send(name, one(v == value), v)
	}
}
