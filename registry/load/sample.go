package load

import "time"

// Sample is what a host counts at one moment. What is zero is unknown.
type Sample struct {
	// At is the moment, as [time.Now] gives it: with the reading of the monotonic clock, so that a clock which is set changes nothing.
	// A sample that is later than the one before by less than [MinElapsed] is not looked at; with one that is earlier, a clock without
	// such a reading was set, and measuring begins anew.
	At time.Time
	// CPU is the time of the machine's processors, Quota that of the process's control group by its quota. The one that is used
	// more counts: what the kernel does for packets is not in the group's account.
	CPU, Quota Busy
	// Memory is in bytes, Conntrack in connections, Peers in peers.
	Memory, Conntrack, Peers Fill
	Uplink                   Uplink
}

// MinElapsed is how far apart samples have to be: rates in less time than this are noise.
const MinElapsed = 100 * time.Millisecond

// Busy counts time, in any unit, since any moment.
type Busy struct {
	// Source names what counts. With another one, counting begins anew.
	Source string
	// Used is what was used of Total. Total is what there was, and 0 if that is unknown.
	Used, Total uint64
}

// Fill is how full something is.
type Fill struct {
	// Of is how much there is at most, and 0 if that is unknown or without a limit.
	Used, Of uint64
}

// Uplink is what an interface counts.
type Uplink struct {
	// Name is the interface's, and empty if that is unknown. Index is the system's number of it, another one for another interface
	// of the same name; 0: unknown.
	Name  string
	Index int
	// Counters of bytes and packets, since any moment.
	ReceivedBytes, SentBytes, ReceivedPackets, SentPackets uint64
	// Capacity is what the link carries each way, in bit/s; 0: unknown.
	Capacity int64
}
