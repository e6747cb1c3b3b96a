package registry

import "errors"

// Conditions that a caller may want to tell apart with [errors.Is].
var (
	// ErrInvalid: the input breaks a rule; the error says which.
	ErrInvalid = errors.New("invalid")
	// ErrNameTaken: another node, with another public key, is alive under the same name.
	ErrNameTaken = errors.New("the name is another node's: give this one another, or stop that one")
	// ErrUnknownServer: the registry does not know the server: it has to register.
	ErrUnknownServer = errors.New("server is not registered")
	// ErrSuperseded: a later process has registered as the same server.
	ErrSuperseded = errors.New("another process has registered as this server since")
	// ErrDenied: who asks may not, by what the registry knows of them. Asking again does not help.
	ErrDenied = errors.New("not allowed")
	// ErrUnavailable: the registry could not be reached, or could not answer. Asking again may help.
	ErrUnavailable = errors.New("registry is unavailable")
	// ErrGap: a usage report is missing between the last that was taken and this one.
	ErrGap = errors.New("a usage report is missing before this one")
	// ErrNoServer: no server meets the query. The selection says why not, of each.
	ErrNoServer = errors.New("no server meets the query")
	// ErrUnknownSession: there is no such session.
	ErrUnknownSession = errors.New("unknown session")
	// ErrConflict: the session, or what names it, is not as the caller believes.
	ErrConflict = errors.New("the session has changed")
)
