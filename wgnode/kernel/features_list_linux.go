package kernel

import (
	"github.com/waylume/waylume/wgnode/kernel/internal/flows"
	"github.com/waylume/waylume/wgnode/kernel/internal/link"
)

// noStart is what is lost with what every packet meets.
const noStart = "the dataplane does not start"

// probes are all features, unanswered, those first that others are of no use without.
func probes() []probe {
	all := []probe{{
		Feature: Feature{
			Name: "CAP_NET_ADMIN", Need: NeedAlways,
			Purpose:  "change interfaces, queues, routes and tables",
			Without:  noStart,
			Requires: "root, or CAP_NET_ADMIN; a container needs --cap-add NET_ADMIN",
		},
		ask: askPrivilege,
	}}
	return append(append(append(all, deviceProbes()...), tableProbes()...), sysctlProbes()...)
}

// deviceProbes are about interfaces and their queues.
func deviceProbes() []probe {
	return []probe{{
		Feature: Feature{
			Name: "WireGuard module", Need: NeedOneDriver,
			Purpose: "encrypt in the kernel",
			Without: "wireguard-go encrypts in the process: a part of the speed, and sessions end with the process",
		},
		options: []option{{"CONFIG_WIREGUARD", "wireguard"}},
		ask:     askModule, try: tryModule,
	}, {
		Feature: Feature{
			Name: "TUN", Need: NeedOneDriver,
			Purpose:  "encrypt in the process, where there is no module",
			Without:  "there is no dataplane on a kernel without the WireGuard module",
			Requires: "a /dev/net/tun that this process may open (a container needs --device /dev/net/tun)",
		},
		options: []option{{"CONFIG_TUN", "tun"}},
		ask:     askTUN, try: tryTUN,
	}, {
		Feature: Feature{Name: "IFB", Need: NeedAlways, Purpose: "queue uploads", Without: noStart},
		options: []option{{"CONFIG_IFB", "ifb"}},
		try:     func(s space) error { return tryLink(s, link.KindIFB) },
	}, {
		Feature: Feature{Name: "HTB", Need: NeedAlways, Purpose: "hold speed limits", Without: noStart},
		options: []option{{"CONFIG_NET_SCH_HTB", "sch_htb"}},
		try:     tryHTB,
	}, {
		Feature: Feature{
			Name: "fq_codel", Need: NeedBetter,
			Purpose: "have short queues that flows of a peer share fairly",
			Without: "all flows of a peer share one plain queue, and a download slows down the rest",
		},
		options: []option{{"CONFIG_NET_SCH_FQ_CODEL", "sch_fq_codel"}},
		try:     tryFqCodel,
	}}
}

// tableProbes are about nftables and connection tracking.
func tableProbes() []probe {
	tables := option{"CONFIG_NF_TABLES", "nf_tables"}
	table := func(name, purpose string, options []option, t trial) probe {
		return probe{
			Feature: Feature{Name: name, Need: NeedAlways, Purpose: purpose, Without: noStart},
			options: options, try: func(space) error { return t.commit() },
		}
	}
	base := table("nftables", "isolate, cap and translate, in tables of its own", []option{tables, {"CONFIG_NF_TABLES_INET", ""}}, chainsTrial())
	base.ask = func(host) error { return supportedTables() }
	snat := table("SNAT", "have peers leave with an address of choice", []option{tables, {"CONFIG_NFT_NAT", "nft_nat"}}, sourceTrial())
	snat.Need, snat.Without = NeedBetter, "Config.SourceAddrs (waylumed up --source-addrs) cannot be used"
	masquerade := table("masquerade, IPv4 and IPv6", "have peers leave with the host's address",
		[]option{{"CONFIG_NF_NAT", "nf_nat"}, {"CONFIG_NFT_NAT", "nft_chain_nat"}, {"CONFIG_NFT_MASQ", "nft_masq"}}, masqueradeTrial())
	masquerade.Without = "the dataplane starts with NATNone (waylumed up --nat none) or SNAT only"
	return []probe{
		base,
		table("nft sets of addresses", "find a peer among any number", []option{tables}, setsTrial()),
		table("nft maps to classes (meta priority)", "bring a peer's packets to its queue", []option{tables}, classesTrial()),
		table("nft counter objects", "count what a peer moves", []option{tables}, countersTrial()),
		table("nft quota objects", "hold data caps", []option{tables, {"CONFIG_NFT_QUOTA", "nft_quota"}}, quotasTrial()),
		table("nft tcp option maxseg", "clamp the MSS to what the tunnel carries", []option{tables}, clampTrial()),
		table("netdev ingress and fwd", "bring uploads to their queue",
			[]option{tables, {"CONFIG_NETFILTER_INGRESS", ""}, {"CONFIG_NF_TABLES_NETDEV", ""}, {"CONFIG_NFT_FWD_NETDEV", "nft_fwd_netdev"}},
			ingressTrial()),
		table("conntrack", "know who began a flow", []option{{"CONFIG_NF_CONNTRACK", "nf_conntrack"}, {"CONFIG_NFT_CT", "nft_ct"}}, conntrackTrial()),
		{
			Feature: Feature{
				Name: "conntrack over netlink", Need: NeedBetter,
				Purpose: "end the flows of a peer that is removed",
				Without: "what still comes for a removed peer reaches the next one with its address, until conntrack forgets the flow",
			},
			options: []option{{"CONFIG_NF_CT_NETLINK", "nf_conntrack_netlink"}},
			ask:     func(host) error { return flows.Supported() },
			try:     func(space) error { return flows.Supported() },
		},
		masquerade,
		snat,
		{
			Feature: Feature{
				Name: "nft tables, whole", Need: NeedAlways, Purpose: "hold the dataplane's own tables, before any peer", Without: noStart,
				Requires: "a kernel that has each part of nftables, and is not older than 5.10",
			},
			try: tryTables,
		},
	}
}

// sysctlProbes are about what the host is told in /proc/sys.
func sysctlProbes() []probe {
	forwarding := func(family, flag, also, unless string, ipv4 bool) probe {
		return probe{
			Feature: Feature{
				Name: family + " forwarding", Need: NeedAlways,
				Purpose: "let peers' packets through the host",
				Without: noStart + unless,
				Requires: "a /proc/sys that this process may write, or that has " + flag + "=1" + also +
					"; a container needs --sysctl " + flag + "=1",
			},
			ask: func(h host) error { return askForwarding(h, ipv4) },
		}
	}
	return []probe{
		forwarding("IPv4", "net.ipv4.ip_forward", ", and with the WireGuard module net.ipv4.conf.all.send_redirects=0", "", true),
		forwarding("IPv6", "net.ipv6.conf.all.forwarding", ", and a kernel where IPv6 is on", ", unless its pool has no IPv6", false),
	}
}
