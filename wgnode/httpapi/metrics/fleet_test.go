package metrics_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/registry"
	"github.com/waylume/waylume/registry/membership"
	"github.com/waylume/waylume/wgnode/httpapi/metrics"
)

// member is one with something to tell of each kind.
func member() metrics.FleetState {
	return metrics.FleetState{
		Phase: "outage", Registered: true, LastSuccess: time.Unix(1.9e9, 0), Failures: 3, Breaker: "half-open",
		ClockOffset:   -1500 * time.Millisecond,
		FleetDraining: true, Released: 17, PendingReleases: 2, PendingUsage: true, UsageReportedTo: time.Unix(1.8e9, 0), LostUsage: 1,
		Heartbeats: 40, Registrations: 2, Reports: 9, Failed: 5, UsageFault: true,
	}
}

func TestFleet(t *testing.T) {
	var state metrics.FleetState
	c := metrics.NewFleet(func() metrics.FleetState { return state })
	got := gather(t, c)
	require.NotContains(t, got, "waylume_fleet_last_success_timestamp_seconds")
	require.NotContains(t, got, "waylume_fleet_usage_reported_timestamp_seconds")
	require.InDelta(t, 1, got["waylume_fleet_phase{phase=other}"], 0)

	state = member()
	require.Equal(t, map[string]float64{
		"waylume_fleet_phase{phase=joining}": 0, "waylume_fleet_phase{phase=joined}": 0, "waylume_fleet_phase{phase=outage}": 1,
		"waylume_fleet_phase{phase=denied}": 0, "waylume_fleet_phase{phase=name_taken}": 0, "waylume_fleet_phase{phase=refused}": 0,
		"waylume_fleet_phase{phase=superseded}": 0, "waylume_fleet_phase{phase=left}": 0, "waylume_fleet_phase{phase=other}": 0,
		"waylume_fleet_breaker{state=closed}": 0, "waylume_fleet_breaker{state=open}": 0, "waylume_fleet_breaker{state=half-open}": 1,
		"waylume_fleet_breaker{state=other}": 0,
		"waylume_fleet_registered":           1, "waylume_fleet_last_success_timestamp_seconds": 1.9e9, "waylume_fleet_failures": 3,
		"waylume_fleet_clock_offset_seconds": -1.5, "waylume_fleet_draining{by=node}": 0, "waylume_fleet_draining{by=fleet}": 1,
		"waylume_fleet_calls_total{call=heartbeat}": 40, "waylume_fleet_calls_total{call=register}": 2,
		"waylume_fleet_calls_total{call=report-usage}": 9, "waylume_fleet_failed_calls_total": 5,
		"waylume_fleet_releases_total": 17, "waylume_fleet_pending_releases": 2,
		"waylume_fleet_usage_pending": 1, "waylume_fleet_usage_reported_timestamp_seconds": 1.8e9, "waylume_fleet_usage_lost_total": 1,
		"waylume_fleet_fault{fault=release}": 0, "waylume_fleet_fault{fault=usage}": 1, "waylume_fleet_fault{fault=state-file}": 0,
	}, gather(t, c))
	for _, phase := range metrics.FleetPhases() {
		state.Phase = phase
		for name, value := range gather(t, c) {
			if strings.HasPrefix(name, "waylume_fleet_phase{") {
				require.Equal(t, name == "waylume_fleet_phase{phase="+phase+"}", value > 0, name)
			}
		}
	}
}

// The phases are those of package membership, which this one does not link.
func TestFleetPhases(t *testing.T) {
	var phases []string
	for _, phase := range []membership.Phase{
		membership.Joining, membership.Joined, membership.Outage, membership.Denied, membership.NameTaken, membership.Refused,
		membership.Superseded, membership.Left,
	} {
		phases = append(phases, string(phase))
	}
	require.Equal(t, phases, metrics.FleetPhases())
}

func loaded() registry.Load {
	return registry.Load{
		Score: 0.5, CPU: new(0.5), Uplink: new(0.25),
		ReceivedRate: 100, SentRate: 200, ReceivedPackets: 3, SentPackets: 4, Scaling: registry.ScaleIn,
	}
}

func TestLoad(t *testing.T) {
	var l registry.Load
	c := metrics.NewLoad(func() registry.Load { return l })
	idle := map[string]float64{
		"waylume_load_score": 0,
		"waylume_load_uplink_bytes_per_second{direction=received}": 0, "waylume_load_uplink_bytes_per_second{direction=sent}": 0,
		"waylume_load_uplink_packets_per_second{direction=received}": 0, "waylume_load_uplink_packets_per_second{direction=sent}": 0,
		"waylume_scaling_signal{signal=steady}": 1, "waylume_scaling_signal{signal=scale_out}": 0, "waylume_scaling_signal{signal=scale_in}": 0,
		"waylume_scaling_signal{signal=other}": 0,
	}
	require.Equal(t, idle, gather(t, c), "what is not known is absent")
	l = loaded()
	require.Equal(t, map[string]float64{
		"waylume_load_score": 0.5, "waylume_load_fraction{resource=cpu}": 0.5, "waylume_load_fraction{resource=uplink}": 0.25,
		"waylume_load_uplink_bytes_per_second{direction=received}": 12.5, "waylume_load_uplink_bytes_per_second{direction=sent}": 25,
		"waylume_load_uplink_packets_per_second{direction=received}": 3, "waylume_load_uplink_packets_per_second{direction=sent}": 4,
		"waylume_scaling_signal{signal=steady}": 0, "waylume_scaling_signal{signal=scale_out}": 0, "waylume_scaling_signal{signal=scale_in}": 1,
		"waylume_scaling_signal{signal=other}": 0,
	}, gather(t, c))
	l.Memory, l.Conntrack, l.Peers, l.Scaling = new(0.1), new(0.2), new(0.3), "a later version's"
	got := gather(t, c)
	require.InDelta(t, 0.1, got["waylume_load_fraction{resource=memory}"], 0)
	require.InDelta(t, 0.2, got["waylume_load_fraction{resource=conntrack}"], 0)
	require.InDelta(t, 0.3, got["waylume_load_fraction{resource=peers}"], 0)
	require.InDelta(t, 1, got["waylume_scaling_signal{signal=other}"], 0)
}
