// Package htb carries out the plan of a [shaping.Planner] in the Linux kernel: one tree of HTB classes for a node, on the
// device that carries downloads and on the one that carries uploads, with the same class ids on both.
//
// It speaks netlink, executes no program, and needs CAP_NET_ADMIN in the network namespace of the devices, the HTB scheduler
// (CONFIG_NET_SCH_HTB), and for short and fair queues fq_codel; without that it makes do with tbf or bfifo. On other systems than
// Linux the package is empty.
//
// # The tree
//
// Each device has a root qdisc 1: and below it class 1:1, the ceiling of the node. Below that are leaves, and groups with
// leaves of their own. A [Class] is the minor number of one: what has it as skb->priority (nftables: meta priority set 1:c)
// is held to its limits. Packets without a class, and packets of a group instead of a leaf, pass unshaped: HTB looks no
// further once it meets an inner class. So peers that share one limit share a leaf, and a group is for those that have limits
// of their own beside it.
//
//	t, err := htb.Open(ctx, htb.Config{Planner: planner, Reserve: 64, Devices: []htb.Device{
//		{Index: tun, Name: "wl0", Direction: htb.Download},
//		{Index: ifb, Name: "wl0-up", Direction: htb.Upload},
//	}})
//	...
//	defer t.Close()
//	err = t.Root(ctx, shaping.Limit{Download: 1e9, Upload: 1e9})
//	group, err := t.ClaimGroup(ctx, shaping.Limit{Download: 50e6}, 2)
//	class, err := t.Claim(ctx, group, shaping.Limit{Download: 20e6, Upload: 5e6})
//	... // map the peer's addresses to 1:class
//	err = t.Change(ctx, class, shaping.Limit{Download: 10e6, Upload: 5e6})
//	... // unmap them
//	err = t.Release(class)
//
// Leaves that are held up by the same ceiling take turns, two packets each, which may be one of two segments. What is merged to longer
// packets has more of it than others: TCP of a round trip below a few ms, or faster than 20 Mbit/s for a flow, on a kernel where the
// leaves' queues do not cut them.
//
// # The pool
//
// The kernel adds or deletes a class in a time that grows with the number of classes, and changes one in 10 us however many
// there are. Adding walks all classes of the device (net/sched/sch_api.c, tc_bind_tclass) and, for a device without offload,
// a list of those of all devices (net/core/flow_offload.c, flow_indr_dev_setup_offload). A leaf on two devices takes 0.1 ms
// beside a hundred, 2.5 ms beside 10,000, 28 ms beside 60,000; 10,000 leaves take 8 s, 60,000 take 12 minutes.
//
// So nothing is deleted: what is released is a free slot for the next who asks, and a goroutine makes slots ahead of need. HTB
// cannot move a class to another parent, so the leaves of a released group stay below it, and wait together for the next
// group. Only when the class ids are used up are free slots deleted to be made again where they are wanted.
//
// An idle leaf takes 3.7 KB of the kernel's memory on each device with a bfifo and 5 KB with a tbf (measured), and some 2.2 KB more than
// with a bfifo with an fq_codel (computed).
//
// # Restart
//
// Open reads what the kernel has, and takes it for free slots. Who remembers the class of a peer (nftables maps do) claims it
// again with Adopt, and what is in force already is not written again. Close leaves all as it is; the tree goes with its
// devices.
//
// # Queues
//
// A leaf's queue is fq_codel with target and interval of the plan, and 32 flows, which take 2.2 KB: the usual 1,024 would be
// 8 GB for 60,000 peers.
//
// Where the kernel has no fq_codel it is a plain queue, which all flows share, of a quarter of the plan's size (50 ms, or ten packets):
// a tbf whose rate nothing reaches. Up to some 84 Mbit/s that cuts GSO super-packets, which are up to 64 KiB and would leave in one
// piece, into segments; and it drops packets longer than two of the tunnel's MTU that are none. Where the kernel has no tbf either
// it is a bfifo that can hold a super-packet, since one that never fits would never pass: at less than 11 Mbit/s that is a longer delay.
//
// A queue is sized for its leaf's limit or the lowest of the ceilings over it. When one of these changes, it is in force when
// the call returns; the queues follow in the background. A plain one whose bound falls to half or less starts anew, empty: what it held
// for a higher rate would take seconds at the lower, in which TCP backs off for longer still.
package htb
