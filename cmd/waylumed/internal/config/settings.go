package config

import (
	"math"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/waylume/waylume/cmd/waylumed/internal/host"
	"github.com/waylume/waylume/cmd/waylumed/internal/state"
	"github.com/waylume/waylume/cmd/waylumed/internal/up"
	"github.com/waylume/waylume/cmd/waylumed/internal/words"
	"github.com/waylume/waylume/ipam"
	"github.com/waylume/waylume/shaping"
	"github.com/waylume/waylume/usagelog"
	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/kernel"
)

const (
	day       = 24 * time.Hour
	maxPeriod = time.Hour
)

// Settings are all there are, in the order in which a person reads them. stateDir is where state is kept by default, as
// [state.Dir] has it; empty: there is no home, and node.state must be given.
func Settings(stateDir string) []Setting {
	list := []Setting{
		one("profile", func(c *Config) *string { return &c.Profile }, oneOf(Standard, Production), Standard,
			"What is insisted on: "+Production+" refuses to start unless what a node on the internet needs is on"),
	}
	return slices.Concat(list, nodeSettings(stateDir), kernelSettings(), apiSettings(), authSettings(), limitSettings(),
		fleetSettings(), otherSettings())
}

func nodeSettings(stateDir string) []Setting {
	def := ipam.DefaultConfig().Prefixes
	dns := wgnode.DefaultDNS()
	return []Setting{
		one("node.name", func(c *Config) *string { return &c.Node.Name }, text("name", 1, wgnode.MaxNameLen), "",
			"What the node is called in logs, traces and tokens", derived("the host's name", hostName)),
		one("node.state", func(c *Config) *string { return &c.Node.State }, path("directory"), stateDir,
			"Where the node keeps its peers, their usage and its log of changes", inPath, func(s *Setting) {
				s.DefaultText = "$STATE_DIRECTORY of a service, /var/lib/waylume for root, else waylumed in $XDG_STATE_HOME or ~/.local/state"
			}),
		one("node.store", func(c *Config) *string { return &c.Node.Store }, oneOf(FileStore, MemoryStore), FileStore,
			"Whether peers outlast the process: in a file in node.state, or in memory, where the end of the process forgets them"),
		one("node.private_key_file", func(c *Config) *string { return &c.Node.PrivateKeyFile }, path("file"), "",
			"The node's WireGuard key, as 'wg genkey' writes it, made if it is not there", inPath,
			derived("node.key in node.state", func(c *Config) { c.Node.PrivateKeyFile = state.KeyFile(c.Node.State) })),
		one("node.listen_port", func(c *Config) *uint16 { return &c.Node.ListenPort }, integer[uint16]("UDP port", 0, math.MaxUint16),
			"51820", "Where WireGuard listens; 0: any that is free, another one at each start"),
		one("node.endpoint", func(c *Config) *string { return &c.Node.Endpoint }, text("host or host:port", 0, 512), "",
			"Where peers reach the node from outside, as their configurations name it", derived("this host's own address", nil)),
		many("node.pool", func(c *Config) *[]netip.Prefix { return &c.Node.Pool }, prefix(), commas(def...),
			"Where peers' addresses come from"),
		many("node.pool_excluded", func(c *Config) *[]netip.Prefix { return &c.Node.PoolExcluded }, prefix(), words.None,
			"Parts of node.pool that no peer gets"),
		many("node.dns", func(c *Config) *[]netip.Addr { return &c.Node.DNS }, addr(), commas(dns...),
			"The resolvers that peers are told to use; none: their own, which may then see what they ask for"),
		one("node.mtu", func(c *Config) *int { return &c.Node.MTU }, integer("bytes", wgnode.MinMTU, wgnode.MaxMTU), "1420",
			"The largest packet inside the tunnel"),
		one("node.download", func(c *Config) *shaping.Rate { return &c.Node.SpeedLimit.Download }, rate(), "unlimited",
			"What all peers together may download", reloadable),
		one("node.upload", func(c *Config) *shaping.Rate { return &c.Node.SpeedLimit.Upload }, rate(), "unlimited",
			"What all peers together may upload", reloadable),
		one("node.checkpoint_period", func(c *Config) *time.Duration { return &c.Node.CheckpointPeriod },
			duration(time.Second, maxPeriod), words.InWords(wgnode.DefaultCheckpointPeriod),
			"How often usage is stored: what moved since is forgotten when the process is killed"),
		one("node.sync_period", func(c *Config) *time.Duration { return &c.Node.SyncPeriod }, duration(time.Second, maxPeriod),
			words.InWords(wgnode.DefaultSyncPeriod), "How often the dataplane is compared with what it should be, and mended"),
		one("node.usage_log", func(c *Config) *time.Duration { return &c.Node.UsageLog },
			optional(duration(wgnode.MinUsageLogPeriod, wgnode.MaxUsageLogPeriod)), words.InWords(wgnode.DefaultUsageLogPeriod),
			"How often usage is logged, a time that divides an hour or a day", examples(up.UsagePeriods()...)),
		one("node.usage_retention", func(c *Config) *time.Duration { return &c.Node.UsageRetention },
			duration(usagelog.MinRetention, usagelog.MaxRetention), words.InWords(usagelog.DefaultRetention), "How long that log is kept",
			examples("31d", "90d", "366d")),
	}
}

func kernelSettings() []Setting {
	return []Setting{
		one("node.dataplane", func(c *Config) *string { return &c.Node.Dataplane }, oneOf(host.Dataplanes()...), AutoDataplane,
			"What moves the packets; auto is the kernel where this process may change its network"),
		one("node.interface", func(c *Config) *string { return &c.Node.Interface }, text("name", 1, 15), kernel.DefaultInterface,
			"Kernel dataplane: the tunnel's interface"),
		one("node.uplink", func(c *Config) *string { return &c.Node.Uplink }, text("name", 0, 15), "",
			"Kernel dataplane: the only interface that peers' packets may leave by", derived("any", nil)),
		one("node.nat", func(c *Config) *string { return &c.Node.NAT }, oneOf(up.NATs()...), Masquerade,
			"Kernel dataplane: whether peers leave with the host's address or with their own"),
		many("node.source_addrs", func(c *Config) *[]netip.Addr { return &c.Node.SourceAddrs }, addr(), words.None,
			"Kernel dataplane: the addresses that peers leave with (SNAT), at most one of IPv4, one of IPv6"),
		one("node.fwmark", func(c *Config) *uint32 { return &c.Node.FirewallMark }, integer[uint32]("mark", 0, math.MaxUint32), "0",
			"Kernel dataplane: the mark of WireGuard's own packets; 0: none"),
		one("node.leave_firewalls", func(c *Config) *bool { return &c.Node.LeaveFirewalls }, boolean(), "false",
			"Kernel dataplane: open no way through other firewalls"),
		many("node.control_ports", func(c *Config) *[]uint16 { return &c.Node.ControlPorts }, port(), words.None,
			"Kernel dataplane: TCP ports of this host that are closed to all but node.control_allow and the allowlist"),
		many("node.control_allow", func(c *Config) *[]netip.Prefix { return &c.Node.ControlAllow }, prefix(), words.None,
			"Kernel dataplane: who reaches node.control_ports, beside this host", reloadable),
	}
}

// commas writes a default.
func commas[T interface{ String() string }](list ...T) string {
	texts := make([]string, len(list))
	for i, v := range list {
		texts[i] = v.String()
	}
	return strings.Join(texts, ",")
}

// inState is a file in the directory of the state.
func inState(c *Config, name string) string {
	if c.Node.State == "" {
		return ""
	}
	return filepath.Join(c.Node.State, name)
}
