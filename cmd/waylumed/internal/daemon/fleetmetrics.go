package daemon

import (
	"github.com/waylume/waylume/registry/membership"
	"github.com/waylume/waylume/wgnode/httpapi/metrics"
)

// metrics is how the node stands with its fleet.
func (t *fleetTask) metrics() metrics.FleetState {
	t.mu.Lock()
	member := t.member
	t.mu.Unlock()
	if member == nil {
		return metrics.FleetState{Phase: string(membership.Joining), Breaker: "closed"}
	}
	s := member.State()
	return metrics.FleetState{
		Phase: string(s.Phase), Registered: s.Registered, LastSuccess: s.LastSuccess, Failures: s.Failures, Breaker: s.Breaker,
		ClockOffset: s.ClockOffset, Draining: s.Draining, FleetDraining: s.FleetDraining, Released: s.Released,
		PendingReleases: s.PendingReleases, PendingUsage: s.PendingUsage, UsageReportedTo: s.UsageReportedTo, LostUsage: s.LostUsage,
		Heartbeats: s.Heartbeats, Registrations: s.Registrations, Reports: s.Reports, Failed: s.Failed,
		ReleaseFault: s.ReleaseError != nil, UsageFault: s.UsageError != nil, FileFault: s.FileError != nil,
	}
}
