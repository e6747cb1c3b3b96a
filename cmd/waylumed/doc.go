// Command waylumed is a VPN exit node.
//
//	waylumed demo      a node and its peers on the loopback, measured
//	waylumed up        a node with a first peer, at once
//	waylumed usage     what peers and accounts used, by the hour and the day
//	waylumed doctor    what this host can do, and which dataplane it gets
//	waylumed backup    a copy of a node's state, while it runs
//	waylumed state     check a state file, or restore it from a backup
//	waylumed peers     list, add, change and remove the peers of a daemon that runs
//	waylumed accounts  the same with accounts
//	waylumed events    what happens to it, as it happens
//	waylumed drain     have it refuse new peers, and undrain
//	waylumed version   what this program was built from
//
// Every command has --help. None needs a privilege, and up makes use of one; none executes another program.
package main
