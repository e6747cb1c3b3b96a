package rules

import (
	"net/netip"

	"github.com/waylume/waylume/wgnode/kernel/internal/nft"
)

// Config is what the tables are made for.
type Config struct {
	// Interface is the tunnel's interface, IFB the one that shapes uploads, and IFBIndex its index.
	Interface string
	IFB       string
	IFBIndex  int
	// Uplink is the interface that peers' packets may leave by; empty for any.
	Uplink string
	// Masquerade gives packets to elsewhere the address of the interface that they leave by, and SourceAddrs, at most one of
	// each family, this one. With neither, packets leave as they are.
	Masquerade  bool
	SourceAddrs []netip.Addr
	// Pool are the prefixes of peers' addresses.
	Pool []netip.Prefix
	// ControlPorts are TCP ports of the host that ControlAllow, and nobody else but the host itself, reaches.
	ControlPorts []uint16
	ControlAllow []netip.Prefix
	// Policy is who may reach what.
	Policy *Policy
	// Objects are those that outlast the tables' rules, such as what was there before; they are kept as they are.
	Objects map[string]nft.Object
}

// Prefix begins the name of every table of ours.
const Prefix = "waylume_"

// Tables are the two tables of an interface.
func Tables(iface string) (inet, netdev nft.Table) {
	return nft.Table{Family: nft.Inet, Name: Prefix + iface}, nft.Table{Family: nft.NetDev, Name: Prefix + iface}
}

// Reasons of packets that did not pass, beside those of package isolation: each has a counter.
const (
	reasonSpoofed     = "spoofed"
	reasonUntracked   = "untracked"
	reasonUnsolicited = "unsolicited"
	reasonEmbedded    = "embedded"
	reasonDenied      = "denied"
	reasonClosed      = "closed"
	reasonUplink      = "other uplink"
	reasonCap         = "data cap"
	reasonRedirect    = "redirect"
	reasonControl     = "control port"
)

func reasons() []string {
	return []string{
		reasonSpoofed, reasonUntracked, reasonUnsolicited, reasonEmbedded, reasonDenied, reasonClosed, reasonUplink, reasonCap,
		reasonRedirect, reasonControl,
	}
}

const dropPrefix = "drop_"

// counterOf is the name of the counter of a reason.
func counterOf(reason string) string {
	name := []byte(dropPrefix + reason)
	for i, c := range name {
		if c == ' ' {
			name[i] = '_'
		}
	}
	return string(name)
}

// DropReasons are the names of the counters of packets that did not pass, with the reason in words.
func DropReasons() map[string]string {
	names := make(map[string]string)
	for _, reason := range reasons() {
		names[counterOf(reason)] = reason
	}
	return names
}

// Names of sets; each has one for each family, with 4 or 6 behind.
const (
	setPeers     = "peers"    // addresses of peers
	setBlocked   = "blocked"  // those that may move nothing
	setClasses   = "classes"  // to the class that shapes; 0 for none
	setPool      = "pool"     // prefixes of peers' addresses
	setClosed    = "closed"   // what the default closes
	setFinal     = "final"    // what no rule opens
	setControl   = "control"  // who reaches the control ports
	mapLimit     = "limit"    // to the quota past which packets are dropped
	mapWatch     = "watch"    // to the quota that reports
	mapCount     = "count"    // to the counter
	upload       = "_up"      // of maps that go by the source address
	download     = "_down"    // and by the destination address
	ofAccount    = "account_" // of maps to an account's objects
	ruleFrom     = "from_"    // of a rule of the policy: peers that begin
	ruleTo       = "to_"      // peers that are reached
	ruleTarget   = "dest_"    // prefixes that are reached
	rulePorts    = "ports_"   // ports
	controlPorts = "ports_control"
)

// DropsAtIngress reports whether a counter is also in the table of the netdev family.
func DropsAtIngress(name string) bool { return name == counterOf(reasonSpoofed) }
