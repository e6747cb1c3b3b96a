// Package waylume is the map of the module; it has no code of its own.
//
// Waylume puts a VPN exit node inside a Go program. A peer, which is anyone with a WireGuard client, gets addresses, a speed
// limit, a data cap and isolation from everybody else, and its packets leave to the internet: through the sockets of the
// process, for which no privilege is needed and no system is asked for more than a UDP port, or through the Linux kernel.
//
// # Packages
//
// An embedder needs the first two:
//
//	wgnode             Node: peers, accounts, limits, caps, policy, usage, events, client configurations
//	wgnode/userspace   the dataplane that needs no privilege: wireguard-go, a packet path and a gVisor stack
//	wgnode/kernel      the dataplane of the Linux kernel, which needs CAP_NET_ADMIN: WireGuard, nftables, HTB
//	wgnode/boltstore   a Store that keeps peers and usage in one file
//	wgnode/fleet       joins a node with a registry, whichever that is; below it nodes, which asks them for peers
//	wgnode/keyfile     the node's private key in a file of its own
//	wgnode/wgnodetest  a dataplane in memory for tests, and below it the conformance suites that any dataplane and store must pass
//
// The leaves do one thing each, and are of use without a node:
//
//	ipam               leases addresses from prefixes, with a quarantine
//	shaping            rates, the plan of a hierarchy of limits, and a scheduler that carries it out on packets
//	shaping/shapedtun  that scheduler around any tun.Device
//	shaping/htb        the same plan carried out by the Linux kernel
//	quota              data caps: periods, thresholds, budgets, and a meter that holds packets to them
//	usagelog           what each subject used in any hour or day, kept in files
//	isolation          who may reach what: a policy, the plan it compiles to, and a filter that carries it out
//	registry           a fleet: its servers, the rule of selection, sessions and who serves them
//
// Below registry, each without the others: memory, postgres and supabase, where a fleet is kept; membership, a node's loop;
// placement, a control plane's; load and geo, what a node says of itself; registrytest, the suite. Package wgnode/fleet joins a
// node and a registry.
//
// The rest:
//
//	internal/packet    reads IP headers
//	internal/testutil  what tests share: network namespaces, and virtual machines with another kernel
//	cmd/waylumed       the command: demo, up, usage, doctor, backup, state, version
//	examples           small programs to copy from
//
// Inside wgnode/kernel, each package speaks with one part of the kernel and knows no other: wgdev, the two drivers of WireGuard;
// link, interfaces, addresses and routes; nft, tables; flows, connection tracking; sysctl. Package rules says what the tables
// hold; guest opens other firewalls.
//
// Package wgnode/httpapi is the API for a control plane, with its client, types and all that it is made of below it.
//
// # Layering
//
//	            cmd/waylumed, examples
//	                      |
//	wgnode/userspace   wgnode/kernel   wgnode/boltstore   wgnode/wgnodetest   wgnode/fleet   wgnode/httpapi
//	                  \        |        |        /              /
//	                            wgnode
//	                      |
//	  ipam     shaping     quota     isolation     usagelog     registry
//	                      |
//	               internal/packet
//
// Imports point down and never sideways: leaves know neither each other nor a node, and wgnode knows no dataplane and no
// store, so that a program links gVisor, wireguard-go or bbolt only by choice. A test of this package holds that.
//
// A leaf has a pure part, which takes a policy and returns a plan, and an executor, which carries the plan out and decides
// nothing. Another executor of the same plan does the same.
//
// # Words
//
//   - Node: one exit, with a WireGuard key and a UDP port.
//   - Peer: one WireGuard public key and its tunnel addresses.
//   - Account: a customer; one or more peers, which share its speed limit and its data cap.
//   - Speed limit: download and upload apart, in bit/s. Download is towards the peer.
//   - Data cap: bytes in a period, and what happens at the end: block or throttle.
//   - Budget: what is left of a data cap, as a dataplane enforces it.
//   - Usage: bytes of inner IP packets that were delivered.
//   - Policy: which peers may reach what.
//   - Pool and lease: the addresses that peers get, and the getting of one.
//   - Dataplane: what moves the packets, and holds them to all of the above.
//   - Server: a node as a fleet sees it; heartbeats say how it is, and one that drains gets nothing new.
//   - Session: a client's use of a fleet, on one server after another; each placement of it has a generation.
//
// docs/architecture.md follows a packet through all of this, and says what is bounded by how much.
package waylume
