package kernel

import (
	"errors"
	"os"

	"github.com/waylume/waylume/wgnode"
)

// Answer says whether a host has a feature.
type Answer string

// Answers. A feature that is unknown may be there: the process lacks the privilege to try it, or the kernel was too busy.
const (
	There   Answer = "there"
	Absent  Answer = "absent"
	Unknown Answer = "unknown"
)

// Need says what a dataplane is without a feature.
type Need string

const (
	// NeedAlways is a feature without which no dataplane starts with the default configuration.
	NeedAlways Need = "required"
	// NeedOneDriver is one of those of which a dataplane needs one: see [Driver].
	NeedOneDriver Need = "one driver"
	// NeedBetter is a feature without which a dataplane does less.
	NeedBetter Need = "better"
)

// Source says how an answer was found.
type Source string

const (
	// SourceTried is a feature that was used in a network namespace made for it.
	SourceTried Source = "tried"
	// SourceAsked is one that the host was asked for, where it is.
	SourceAsked Source = "asked"
	// SourceRead is one that the kernel's configuration, or the list of its modules, tells of.
	SourceRead Source = "read"
)

// Feature is one thing of the host's that a dataplane uses.
type Feature struct {
	// Name is the field's term for it, and stays: "HTB".
	Name string
	Need Need
	// Purpose is what the dataplane does with it, and Without what it is without it.
	Purpose, Without string
	// Requires is what makes the feature be there on this host; empty if it is.
	Requires string
	Source   Source
	// Err is nil if the feature is there, and matches wgnode.ErrNotSupported if it is absent; any other says nothing for sure.
	Err error
}

// Answer is the answer that Err gives.
func (f Feature) Answer() Answer {
	switch {
	case f.Err == nil:
		return There
	case errors.Is(f.Err, wgnode.ErrNotSupported):
		return Absent
	}
	return Unknown
}

// Firewall is a table of another program's that judges packets which a node forwards or receives.
type Firewall struct {
	// Family is "inet", "ip" or "ip6", and Table the table's name.
	Family, Table string
	// Programs are those known by the names of what is in the table: "Docker", "firewalld", "ufw".
	Programs []string
	// Forward and Input report that it drops by default what is forwarded, and what comes to the host.
	Forward, Input bool
	// Locked reports that its owner lets nobody change it; else a dataplane opens it, see Config.LeaveFirewalls.
	Locked bool
}

// absence makes an error of a cause that matches wgnode.ErrNotSupported, and that says what is required.
func absence(f Feature, cause error) error {
	return &absentError{wgnode.NotSupportedError{Feature: f.Name, Requires: f.Requires}, cause}
}

// absentError is a [wgnode.NotSupportedError] with what the kernel said.
type absentError struct {
	wgnode.NotSupportedError
	cause error
}

func (e *absentError) Error() string {
	return e.NotSupportedError.Error() + " (" + e.cause.Error() + ")"
}
func (e *absentError) Unwrap() error   { return e.cause }
func (e *absentError) Is(t error) bool { return e.NotSupportedError.Is(t) }

// isDenied reports that a privilege is missing.
func isDenied(err error) bool { return errors.Is(err, os.ErrPermission) }
