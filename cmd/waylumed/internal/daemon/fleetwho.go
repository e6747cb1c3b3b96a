package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"

	"github.com/waylume/waylume/cmd/waylumed/internal/config"
	"github.com/waylume/waylume/registry"
	"github.com/waylume/waylume/registry/geo"
	"github.com/waylume/waylume/shaping"
)

// registration is what the node says of itself to its fleet.
func (t *fleetTask) registration(ctx context.Context, cfg config.Config) (r registry.Registration, err error) {
	status, err := t.d.node.Status(ctx)
	if err != nil {
		return r, err
	}
	f := cfg.Fleet
	r = registry.Registration{
		Name: cfg.Node.Name, APIURL: f.APIURL, Audience: cfg.API.Auth.Audience, Pool: f.Pool, Version: t.d.Version,
		Location: registry.Location{Region: f.Region, Country: f.Country, City: f.City},
		Capacity: registry.Capacity{Peers: f.CapacityPeers},
	}
	if f.CapacityRate != shaping.Unlimited {
		r.Capacity.Rate = int64(f.CapacityRate)
	}
	if f.Position != (registry.Position{}) {
		r.Position = &f.Position
	}
	if r.EndpointV4, r.EndpointV6, err = endpointsOf(ctx, t.d.endpoint, status.ListenPort); err != nil {
		return r, err
	}
	if f.GeoDatabase == "" {
		return r, nil
	}
	database, err := geo.Open(f.GeoDatabase)
	if err == nil {
		var found registry.Location
		found, err = geo.Locate(r.Location, database, r.EndpointV4.Addr(), r.EndpointV6.Addr())
		if err == nil {
			r.Location = found
		}
		err = errors.Join(err, database.Close())
	}
	if err != nil { // the node is worth more than its place on a map
		t.d.log.Warn("where the node is was not found in the database", "error", err)
	}
	return r, nil
}

// endpointsOf are the addresses of an endpoint: a host or an IP address, with a port or without.
func endpointsOf(ctx context.Context, endpoint string, port uint16) (v4, v6 netip.AddrPort, err error) {
	host := endpoint
	if h, p, err := net.SplitHostPort(endpoint); err == nil {
		n, err := strconv.ParseUint(p, 10, 16)
		if err != nil {
			return v4, v6, fmt.Errorf("node.endpoint %s: its port is no number", endpoint)
		}
		host, port = h, uint16(n)
	}
	addrs := []netip.Addr{}
	if addr, err := netip.ParseAddr(host); err == nil {
		addrs = append(addrs, addr)
	} else if addrs, err = net.DefaultResolver.LookupNetIP(ctx, "ip", host); err != nil {
		return v4, v6, fmt.Errorf("%w: look up node.endpoint: %w", registry.ErrUnavailable, err)
	}
	for _, addr := range addrs {
		switch addr = addr.Unmap().WithZone(""); {
		case addr.Is4() && !v4.IsValid():
			v4 = netip.AddrPortFrom(addr, port)
		case addr.Is6() && !v6.IsValid():
			v6 = netip.AddrPortFrom(addr, port)
		}
	}
	return v4, v6, nil
}
