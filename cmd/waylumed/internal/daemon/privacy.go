package daemon

import (
	"github.com/waylume/waylume/cmd/waylumed/internal/config"
	"github.com/waylume/waylume/ipam"
	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/httpapi/audit"
	"github.com/waylume/waylume/wgnode/httpapi/auth"
	"github.com/waylume/waylume/wgnode/httpapi/privacy"
)

// privacy is what the settings in force keep.
func (d *daemon) privacy() privacy.Settings {
	cfg := d.config()
	s := privacy.Settings{
		DurableState: cfg.Node.Store == config.FileStore, Quarantine: ipam.DefaultQuarantine, AuditSources: cfg.Log.Redaction,
		LogRedaction: cfg.Log.Redaction, Idempotency: cfg.Idempotency.Retention, EventBuffer: wgnode.DefaultEventBuffer,
		PeerMetrics: cfg.Admin.PeerSeries, Traces: cfg.Tracing.Endpoint != "",
		Registry: cfg.Fleet.Set(), RegistryUsage: cfg.Fleet.Set() && cfg.Fleet.Usage && cfg.Node.UsageLog > 0,
	}
	if s.DurableState && cfg.Node.UsageLog > 0 {
		s.UsageLogPeriod, s.UsageRetention = cfg.Node.UsageLog, cfg.Node.UsageRetention
	}
	if cfg.Audit.File != "" {
		s.AuditRetention, s.AuditSegmentAge = cfg.Audit.Retention, audit.DefaultSegmentAge
	}
	return s
}

// reasons are why a request may be refused before it reaches a route.
func reasons() (all []string) {
	for _, r := range auth.Reasons() {
		all = append(all, string(r))
	}
	return all
}
