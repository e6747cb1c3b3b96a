// Package crashtest kills nodes, and looks whether anything is missing. It has tests only.
//
// A life is that of one process: the test program, started again, serves a real wgnode.Node with its state in a file and a real
// dataplane. Several callers change it at once while peers send and receive, and then the process ends by SIGKILL: at a random
// moment, while it starts, or at a fault point, which is before, within or after the k-th call that the node makes to its store
// or its dataplane. The next life goes on with the same file and, with the kernel dataplane, with what the dead one left in the
// kernel. After each death
//
//   - the file holds every batch that was committed, to the byte; the one under way wholly or not at all; and nothing else;
//   - the next start succeeds, and what it has is what the model has: every acknowledged change, each that was cut off wholly
//     or not at all, and no peer, account, address, limit, cap or top-up beside. A call that was cut off is made again, and
//     answers that it was made already exactly when it was;
//   - no address has two holders, none is leased while it is in quarantine, no sequence number is given twice;
//   - a peer is there until its time is over, with its grace period, and gone thereafter: at once when a node starts, and within
//     two seconds while one lives. One that has expired sends in vain. Its addresses are in quarantine, and the usage log has all
//     that it had used, as of all that were removed;
//   - a period of a data cap ends once, also when no node lived at the time: what is used of the cap begins at nothing and
//     moves with the counters from there on, byte for byte, what was topped up is gone, and the counters go on;
//   - usage is what the file says (package userspace) or what the kernel counted on (package kernel), never more than was
//     sent, and while a node lives, or after it was closed, never less than has arrived;
//   - what passed in a life is not a byte more than what its caps had left when it began;
//   - a sync finds nothing to mend, and nothing is left in the directory of the state, in that for temporary files, or, as
//     goroutines, in a node that was closed;
//   - in the kernel there are the rules, elements, quotas and links that a fresh start makes of the same state, and nothing
//     is left when a node closes.
//
// With package userspace what passed since the last commit of a peer's usage is forgotten at a death, by the peer's counters and
// by its cap: at least what had come when the last checkpoint that was committed began to read is stored, and never less than what
// had come some seconds ago. With package kernel nothing is forgotten, to the byte, unless the death was within Close; but what was
// not stored when a period ended counts in the next one. The summary, which -v shows, says how much was forgotten at most.
//
// Periods begin at whole hours. The tests have time zones of their own in which such an hour is a second or a few ahead.
//
// A sync that comes while packets pass may mend with package kernel: it may be the first to see that a quota was used up.
//
// Nodes that do nothing but change their key, at once or with an overlap, are killed apart (TestRotation): devices that come and
// go with each key are the conformance suite's.
//
//	go test ./wgnode/crashtest                                  # what CI runs
//	go test ./wgnode/crashtest -args -kills 1000 -seed 42       # or: make crash N=1000 SEED=42
//	go test -v -run TestVM ./wgnode/crashtest -args -kills 50   # with the kernel's WireGuard module, in a virtual machine
//
// A seed decides what is asked, in which order by each caller, and where or after how long each process is killed. What the
// processes have done by then is up to the scheduler: a seed that found something may need more than one run to find it again.
//
// The model knows nothing of how calls are made: a new one is an entry in operations, and what it changes a field in the model.
package crashtest
