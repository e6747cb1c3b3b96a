// Package hostload takes the samples that package load makes a load of, from what Linux says in /proc and /sys. It sends no netlink
// message, runs no program and needs no privilege. On other systems it knows nothing, and says so with [ErrNotSupported].
//
//	host, err := hostload.New(hostload.Config{})
//	if err != nil {
//		return err
//	}
//	monitor, err := load.NewMonitor(load.MonitorConfig{Source: host.Sample})
//
// A [Reader] starts nothing and holds no file open. What it cannot read is missing from a sample, and named by the error beside it.
//
// # What is read
//
//   - Processors: /proc/stat, where time that a hypervisor took counts as used. With a control group of version 2 that has a quota
//     (cpu.max) also the group's own use of it (cpu.stat); of several such groups above each other, of the one with the least.
//   - Memory: MemTotal and MemAvailable of /proc/meminfo, or a control group's memory.current without inactive_file against
//     memory.max, whichever is fuller.
//   - Connections: nf_conntrack_count and nf_conntrack_max of the network namespace. Without the kernel's module there are none.
//   - Uplink: the counters of /proc/self/net/dev, for the interface of the default route with the lowest metric in the main table,
//     looked up for each sample, of IPv4, and if it has none of IPv6; or for the interface that was configured.
//   - The uplink's capacity: what was configured, or /sys/class/net/*/speed of a device that has a speed, read once a minute. A
//     virtual machine's card often has none, or that of the host's: what the provider sold is better configured.
//
// Control groups of version 1 are not looked at.
package hostload
