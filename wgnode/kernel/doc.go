// Package kernel is the dataplane in the Linux kernel: WireGuard, nftables and HTB move, judge, meter and shape the packets,
// and this process only says how. It executes no program and speaks netlink with the kernel.
//
//	dp, err := kernel.New(kernel.Config{Uplink: "eth0"})
//	...
//	node, err := wgnode.New(wgnode.Config{Dataplane: dp})
//
// # What it needs
//
// Linux with nf_tables, connection tracking, HTB and IFB; fq_codel for fair queues. WireGuard is the kernel's module or, where
// there is none, wireguard-go in this process on a TUN ([Driver]); all else is the same for both. The process needs
// CAP_NET_ADMIN in its network namespace, and a /proc/sys that can be written unless the host forwards already. [Supported]
// says whether a host has what can be asked for without changing anything. On other systems New fails with an error that
// matches wgnode.ErrNotSupported.
//
// # What it does to the host
//
// It makes the interface of [Config], an IFB of that name with "-up" behind it, queues on these two, addresses and routes of
// the pool on the first, and two tables of nftables named after it. It turns forwarding on, for the families of the pool. The
// queues of other interfaces and other programs' tables it does not replace; see Config.LeaveFirewalls for what it adds to a
// firewall that drops by default. What others break of its own is mended.
//
// # Life
//
// New checks the configuration and touches nothing. Start makes all that, or adopts what a process that was killed left:
// what is right stays as it is, counters and the module's sessions with it. While nobody runs, the module's packets cross,
// limits hold, and a cap that blocks is not passed; only a throttled rate waits for the next Start. A TUN ends with its
// process: then nothing crosses, and counters stay. Start fails if another process serves the same interface. Close removes
// all, and puts sysctls back that nobody has changed since; with Config.KeepOnClose everything stays for the next Start. What
// was left and has counted less of somebody than the node knows is outdated, as the node went on with another dataplane: the
// tables are then made anew, in one transaction. A dataplane serves one node, once.
//
// # Keys
//
// With wireguard-go two keys of the node's are served while it is rotated, as by package userspace, which says what that takes. The
// module has one key for each interface: SetKeys with a former key is an error that matches wgnode.ErrNotSupported, and a Start with
// one serves the other, and says so among the limitations.
//
// # What differs from package userspace
//
//   - A byte is counted, and asked for by a cap, where the packet is forwarded, which is before the queue of a download: what
//     that queue drops was counted.
//   - The kernel carries segments of TCP that come together as one packet of up to 64 KiB (GSO, GRO). It is counted as it is,
//     with one header where the wire has many: up to 5 % fewer bytes. A cap lets such a packet pass or drops it whole, so that
//     TCP is cut off within 64 KiB before the cap, and not a byte past it as counted.
//   - Flows are connection tracking's. Packets that belong to none (its state invalid) are dropped, fragments are put together
//     first and counted whole, and rules of a policy judge every packet by how its flow began.
//   - The host itself may begin flows to peers. Peers begin none to the host unless the policy says so.
//   - Every protocol leaves the host, the time to live is decremented, and the source address is the host's ([NAT]).
//   - Malformed packets that the kernel drops by itself are in no counter.
//
// # Limits
//
// There are 65,000 classes of HTB: a peer that a limit concerns, be it its own, its account's or the node's, takes one, and an
// account with a limit another. An idle class takes 3.7 KB of the kernel's memory for each direction, and more with an
// fq_codel. The kernel makes a class in a time that grows with their number, so they are made ahead of need and used again:
// see package htb.
package kernel
