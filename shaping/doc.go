// Package shaping holds traffic to speed limits: a hierarchy of ceilings (a node, its accounts, their peers) with a short and
// fair queue for each peer. It needs no privilege and no help of the kernel's, and can be used without the rest of Waylume.
//
// # Limits
//
// A [Rate] is in bit/s over whole IP packets and reads "20mbit"; a [Limit] has one for each direction.
//
// # Scheduler
//
// A [Scheduler] shapes one direction, as the kernel's HTB with fq_codel would: the root's ceiling is over groups, a group's
// over its leaves, a leaf has its own. A class may send what its ceiling allows and its parent can lend; classes that wait for
// the same parent take turns of equal size, so that what some do not need the others share (max-min fairness).
//
//   - Rates are exact in the long run: token buckets never round, carry debts, and make up for time that the scheduler itself
//     was late, up to 200 ms. But for such time, a class sends in any window at most rate*window, one burst (10 ms at its
//     rate, or two packets) and one packet.
//   - A change of a limit, or of a leaf's group, holds from the next packet on, and what waits for the old limit is looked at
//     again at once. Queues stay.
//   - A leaf's queue is FQ-CoDel (RFC 8290): flows take turns, new ones first, and CoDel (RFC 8289), adapted to low rates and
//     to shares of a busy parent, keeps each short. Queues are bounded in time, in bytes, and in memory altogether.
//   - One goroutine with one timer paces all leaves. A packet takes the lock of its group and none that all share, unless the
//     root has a limit; a packet that nothing holds up goes straight through. Steady traffic allocates nothing.
//   - A leaf with nothing queued takes some 230 bytes, and 220 more if it is in no group; one with a backlog 8 KiB more.
//
// It starts with [Scheduler.Start] and ends with [Scheduler.Close]. Packets go in by [Leaf.Enqueue] and come out of
// [Config.Output]:
//
//	s, err := shaping.NewScheduler(shaping.Config{MTU: 1420, Output: send})
//	...
//	s.Start()
//	defer s.Close()
//	err = s.SetGroup("acme", 50_000_000)
//	leaf, err := s.SetLeaf("alice", "acme", 20_000_000)
//	...
//	p := s.NewPacket(n)
//	copy(p.Data, packet)
//	leaf.Enqueue(p)
//
// Package shapedtun puts two of them around any tun.Device.
//
// # Plan
//
// A [Planner] turns a [Hierarchy] into [Class]es with the parameters of an HTB, and the difference of two into [Step]s in an
// order that opens no gap. It is pure. The Scheduler follows the same arithmetic, and so can an executor for the kernel.
package shaping
