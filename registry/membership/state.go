package membership

import (
	"time"

	"github.com/waylume/waylume/registry"
)

// Phase is how a node stands with the fleet.
type Phase string

// Phases. A node serves its peers in all of them.
const (
	// Joining: it has not registered yet since it started, or has to again.
	Joining Phase = "joining"
	// Joined: it has registered, and its heartbeats are answered.
	Joined Phase = "joined"
	// Outage: the registry has not answered for some time. It goes on trying.
	Outage Phase = "outage"
	// Denied: the registry refuses it: the credential was revoked, or is another node's. It asks again every few minutes.
	Denied Phase = "denied"
	// NameTaken: a node with another key is alive under its name. It asks again every minute or so.
	NameTaken Phase = "name_taken"
	// Refused: the registry says that what the node says is not valid. It asks again every few minutes.
	Refused Phase = "refused"
	// Superseded: another process has registered as this server. It asks no more until it is started again.
	Superseded Phase = "superseded"
	// Left: it has deregistered, and asks no more.
	Left Phase = "left"
)

// State is what a [Member] knows of its place in the fleet.
type State struct {
	Phase Phase
	// Since is when the phase began.
	Since time.Time
	// Registered says that the node has registered since it was started, and need not again as far as it knows.
	Registered  bool
	Server      registry.ID // empty before the first registration ever
	Incarnation int64
	// LastSuccess is when the registry last answered with no error; zero: not yet.
	LastSuccess time.Time
	// LastError is of the last call or its reason if that failed; nil once one succeeds. Failures are those since the last success.
	LastError error
	Failures  int
	// Breaker is "closed", "open" or "half-open".
	Breaker string
	// Interval is the time between heartbeats, as the registry wants it or else as configured.
	Interval time.Duration
	// ClockOffset is how far the registry's clock is ahead of this one, to about the time that a call takes. 0 before the first answer.
	ClockOffset time.Duration
	// Draining is what the node wants, FleetDraining what whoever runs the fleet does.
	Draining, FleetDraining bool
	// Released is the sequence of the last release that was carried out and is on the disk. PendingReleases are those that
	// are known and not carried out yet; ReleaseError is why the last try failed, nil if it did not.
	Released        int64
	PendingReleases int
	ReleaseError    error
	// UsageSequence is that of the last report which the registry took. UsageReportedTo is the end of that report in time, by
	// this clock, as far as this process sent it. PendingUsage says that there is more which waits to be taken, UsageError why the last try to
	// report failed. LostUsage counts how often usage turned out to be lost before it was reported.
	UsageSequence   int64
	UsageReportedTo time.Time
	PendingUsage    bool
	UsageError      error
	LostUsage       int
	// FileError is why the state file could not be written, nil if it could.
	FileError error
	// Totals since the start: heartbeats, registrations and reports that were asked, and how many calls of all kinds failed.
	Heartbeats, Registrations, Reports, Failed int64
}
