package fleet

import (
	"context"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/waylume/waylume/ipam"
	"github.com/waylume/waylume/registry"
	"github.com/waylume/waylume/registry/membership"
	"github.com/waylume/waylume/wgnode"
)

var _ membership.Node = (*member)(nil)

// member is a node as its membership sees it.
type member struct{ cfg Config }

// Registration says what the node is.
func (m *member) Registration(ctx context.Context) (registry.Registration, error) {
	status, err := m.cfg.Node.Status(ctx)
	if err != nil {
		return registry.Registration{}, err
	}
	if status.State != "running" {
		return registry.Registration{}, wgnode.ErrNotStarted
	}
	r := m.cfg.Registration
	r.PublicKey = registry.Key(status.PublicKey)
	r.Features = features(r.Features, status)
	return r, nil
}

// features are those that were given, and those that show.
func features(given []string, status wgnode.Status) []string {
	list := slices.Clone(given)
	add := func(feature string) {
		if len(list) < registry.MaxFeatures && !slices.Contains(list, feature) {
			list = append(list, feature)
		}
	}
	add(status.Dataplane)
	if slices.ContainsFunc(status.Pool, func(s ipam.Stats) bool { return s.Family == ipam.IPv6 }) {
		add("ipv6")
	}
	return list
}

// Status says how the node is.
func (m *member) Status(ctx context.Context) (registry.Status, error) {
	status, err := m.cfg.Node.Status(ctx)
	if status.State != "running" {
		return registry.Status{}, wgnode.ErrNotStarted
	}
	s := registry.Status{Peers: status.Peers, Health: registry.Healthy}
	totals := m.cfg.Node.Totals()
	s.Connected = totals.Connections[wgnode.ConnectionOnline] + totals.Connections[wgnode.ConnectionIdle]
	for _, p := range status.Problems {
		s.Health = worse(s.Health, healthOf(p))
		s.Reasons = append(s.Reasons, p.Kind.String()+": "+p.What)
	}
	if err != nil {
		s.Health = registry.Failing
		s.Reasons = append(s.Reasons, "the dataplane cannot be asked")
	}
	s.Reasons = s.Reasons[:min(len(s.Reasons), registry.MaxReasons)]
	for i, reason := range s.Reasons {
		s.Reasons[i] = shorten(reason, registry.MaxReasonLen)
	}
	if m.cfg.Load != nil {
		s.Load = m.cfg.Load()
	}
	return s, nil
}

// healthOf says how bad a problem is for a session that would come: whether it could be set up, and would be of use.
func healthOf(p wgnode.HealthProblem) registry.Health {
	switch p.Kind {
	case wgnode.DataplaneFailing, wgnode.InterfaceDown, wgnode.HandshakesUnanswered, wgnode.HandshakesCeased, wgnode.ForwardingOff,
		wgnode.UplinkDown, wgnode.FirewallCloses, wgnode.SocketsFail, wgnode.StoreFailing:
		return registry.Failing
	default:
		return registry.Degraded
	}
}

func worse(a, b registry.Health) registry.Health {
	if a == registry.Failing || b == registry.Failing {
		return registry.Failing
	}
	if a == registry.Degraded || b == registry.Degraded {
		return registry.Degraded
	}
	return registry.Healthy
}

// shorten cuts a text to some bytes of UTF-8.
func shorten(s string, most int) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= most {
		return s
	}
	for most > 0 && !utf8.RuneStart(s[most]) {
		most--
	}
	return s[:most]
}

// Release carries out what the fleet has moved or ended.
func (m *member) Release(ctx context.Context, releases []registry.Release) error {
	removed, err := m.cfg.Fence.release(ctx, releases)
	if removed > 0 {
		m.cfg.Logger.Info("peers of sessions that have left were removed", "peers", removed)
	}
	return err
}
