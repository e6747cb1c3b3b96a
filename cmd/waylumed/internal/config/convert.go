package config

import (
	"slices"

	"github.com/waylume/waylume/ipam"
	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/kernel"
)

// NodeConfig is what the library is told about the node: without dataplane, store, usage log and logger.
func (c Config) NodeConfig() wgnode.Config {
	return wgnode.Config{
		PrivateKeyFile: c.Node.PrivateKeyFile, ListenPort: c.Node.ListenPort, Endpoint: c.Node.Endpoint,
		Pool: ipam.Config{Prefixes: c.Node.Pool, Excluded: c.Node.PoolExcluded}, DNS: c.Node.DNS, MTU: c.Node.MTU,
		SpeedLimit: c.Node.SpeedLimit, SyncPeriod: c.Node.SyncPeriod, CheckpointPeriod: c.Node.CheckpointPeriod,
		UsageLogPeriod: c.Node.UsageLog,
	}
}

// Kernel is what the kernel dataplane is told. Where there is an allowlist, the API's TCP ports are among those that it closes.
func (c Config) Kernel() kernel.Config {
	cfg := kernel.Config{
		Interface: c.Node.Interface, Uplink: c.Node.Uplink, FirewallMark: c.Node.FirewallMark, SourceAddrs: c.Node.SourceAddrs,
		LeaveFirewalls: c.Node.LeaveFirewalls, ControlPorts: slices.Clone(c.Node.ControlPorts), ControlAllow: c.Node.ControlAllow,
		KeepOnClose: c.Run.Stop == KeepDataplane,
	}
	if c.Node.NAT == NoNAT {
		cfg.NAT = kernel.NATNone
	}
	if c.Allowlist.Set() {
		for _, a := range c.API.Listen {
			if port, ok := a.Port(); ok && !a.Loopback() {
				cfg.ControlPorts = append(cfg.ControlPorts, port)
			}
		}
	}
	slices.Sort(cfg.ControlPorts)
	cfg.ControlPorts = slices.Compact(cfg.ControlPorts)
	return cfg
}

// Set reports whether there is an allowlist.
func (a Allowlist) Set() bool { return a.File != "" || a.URL != "" }

// Set reports whether there are keys at a URL or in a file.
func (j JWKS) Set() bool { return j.URL != "" || j.File != "" }

// Signed reports whether somebody can sign requests: the API's settings say who, or the fleet does.
func (c Config) Signed() bool { return c.API.Signed() || len(c.Fleet.URLs) > 0 }

// Signed reports whether somebody can sign requests: there is a key, a set of keys, or an authority for clients' certificates.
func (a API) Signed() bool {
	return len(a.Auth.Keys) > 0 || a.Auth.JWKS.Set() || a.TLS.ClientCAFile != ""
}

// Exposed are the listening addresses that other hosts reach.
func (a API) Exposed() []Address {
	return slices.DeleteFunc(slices.Clone(a.Listen), Address.Loopback)
}

// tcp are those that are no unix sockets.
func (a API) tcp() []Address {
	return slices.DeleteFunc(slices.Clone(a.Listen), func(a Address) bool { return a.Network == "unix" })
}
