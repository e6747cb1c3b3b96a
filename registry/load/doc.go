// Package load makes of what a host counts the [registry.Load] that heartbeats tell: how full it is, how fast its uplink runs, and
// whether it calls for more nodes or for fewer.
//
// A [Meter] is pure: it takes [Sample]s, starts nothing and asks the system nothing. A [Monitor] takes them regularly from a
// source, package hostload is one for Linux, and says when the scaling signal changes. Neither needs a privilege.
//
//	monitor, err := load.NewMonitor(load.MonitorConfig{Source: host.Sample, Logger: logger})
//	if err != nil {
//		return err
//	}
//	group.Go(func() error { return monitor.Run(ctx) })
//	...
//	status.Load = monitor.Load()
//
// # Fractions and the score
//
// A fraction says how much of something is used: the processors, since the sample before; the memory; the table of connections; the
// uplink, in the direction that is busier, since the sample before; the peers. It is smoothed by time: what was so for one
// [Config].Smoothing counts for 63 %, for three of them for 95 %, however often samples are taken in between. The score is the highest
// fraction that is known, for that is what runs out first. What cannot be measured any more is forgotten after one Smoothing.
//
// # Counters
//
// Counters of an interface begin anew when the interface does. Some drivers count in 32 bits, and wrap. A counter that is lower than
// before has wrapped if it was below 2^32, if that makes it grow by less than 2^31, and by no more than its link can carry; else
// all of the interface's began anew, and what they show is what moved since. Wraps are seen if samples are so close that
// no 2^31 bytes pass between them: 17 s at 1 Gbit/s.
//
// # The signal
//
// [Thresholds] say when a load calls for another number of nodes. The score must stay beyond one for a hold time, and comes back
// only past another, so that a load which wavers about a threshold changes nothing, and the signal changes no more often than the
// hold times let it. docs/scaling.md has the table.
package load
