// Package membership keeps a node in its fleet: it registers it, sends its heartbeats, carries out what the fleet wants of it,
// and reports what its peers use.
//
//	member, err := membership.New(membership.Config{
//		Registry: fleet, Node: node, Usage: usage, StateFile: "/var/lib/waylume/fleet.json", Logger: logger,
//	})
//	if err != nil {
//		return err
//	}
//	return member.Run(ctx) // until the context ends
//
// A [Member] runs once, in three goroutines that end with Run's context: one registers and sends heartbeats, one carries out
// releases, one reports usage. None waits for another, so that a node whose peers are slow to go is still known to be alive. It
// needs no privilege, and a directory for its state file, which one process has at a time. [Member.State] says how the node
// stands, for metrics and for people; the log tells the beginning and the end of an outage or a refusal, not each try.
//
// # Outages
//
// That the fleet cannot be reached is not an error. The peers of the node are not touched, nothing queues and nothing grows: the
// next heartbeat that arrives says how the node is then, the releases come with its answer, and usage waits in the source's log. Each
// call has a time-out. After a failure the next one comes at a random time below a bound that doubles from a second to two
// intervals; calls that come sooner than regular ones would are a fifth of those at most, and two more. After five failures in
// sequence a circuit breaker lets nothing through for half an interval to one and a half, and then one heartbeat, which decides.
// A thousand nodes that come back at once ask at most six times as much in any second as they do all the time; a test holds that.
//
// # What outlives the process
//
// The state file has the server's ID, the last release that was carried out, and how far usage was reported. A release is
// acknowledged once it was carried out and that is on the disk. A usage report has a number; where it begins and ends is on the disk
// before it is sent, and it says the same until it is taken. So after a crash at any moment releases come again, which changes
// nothing, and no usage is lost or counted twice.
//
// Where the file was lost or an older one was put back, the fleet's answer to the registration shows it: what may have been
// reported is not reported again, and the log says how much that is. Under one circumstance usage counts twice: a report
// was taken, its answer was lost, and the node comes back as another server, under another name.
package membership
