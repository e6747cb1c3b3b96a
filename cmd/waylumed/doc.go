// Command waylumed is a VPN exit node.
//
//	waylumed demo        a node and its peers on the loopback, measured
//	waylumed up          a node with a first peer, at once
//	waylumed run         a node as a service, with an API
//	waylumed init        a first file of settings for it
//	waylumed config      check and show its settings
//	waylumed peers       list, add, change and remove the peers of a daemon that runs
//	waylumed accounts    the same with accounts
//	waylumed events      what happens to it, as it happens
//	waylumed drain       have it refuse new peers, and undrain
//	waylumed status      what is wrong with a node that runs
//	waylumed usage       what peers and accounts used, by the hour and the day
//	waylumed doctor      what this host can do, and which dataplane it gets
//	waylumed backup      a copy of a node's state, while it runs
//	waylumed state       check a state file, or restore it from a backup
//	waylumed rotate-key  another private key for a node that runs
//	waylumed audit       verify and show the log of changes
//	waylumed migrate     the schema of a fleet's database
//	waylumed version     what this program was built from
//
// Every command has --help. None needs a privilege; up and run make use of one. None executes another program.
package main
