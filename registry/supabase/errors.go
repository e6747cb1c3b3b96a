package supabase

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/waylume/waylume/registry"
)

// Conditions that a caller may want to tell apart with [errors.Is], beside those of package registry.
var (
	// ErrNotEnrolled: there is no credential yet.
	ErrNotEnrolled = errors.New("the node is not enrolled")
	// ErrEnrolled: there is a credential already.
	ErrEnrolled = errors.New("the node is enrolled already")
	// ErrExposed: others than its owner may use the file of the credential.
	ErrExposed = errors.New("others than its owner may use it")
	// ErrCorrupt: what is in the file is not a credential.
	ErrCorrupt = errors.New("it holds no credential")
	// ErrOtherFleet: the credential is of another fleet than the configuration.
	ErrOtherFleet = errors.New("the credential is of another fleet")
	// ErrChanged: another process has written the file of the credential meanwhile.
	ErrChanged = errors.New("another process has changed it")
	// ErrPin: a server has shown a certificate that no pin is of.
	ErrPin = errors.New("no pin is of the server's certificates")
	// ErrClock: this host's clock is off, and the fleet's time did not help. It matches registry.ErrUnavailable, too.
	ErrClock = errors.New("the clock is off")
	// ErrAnswer: what came back is not an answer of the fleet's. It matches registry.ErrUnavailable, too.
	ErrAnswer = errors.New("the answer is not the fleet's")
	// ErrKeys: a set of control keys cannot be used.
	ErrKeys = errors.New("the control keys cannot be used")
)

// Error is a call that failed. It matches what package registry or this one says of the reason.
type Error struct {
	// Op is what was asked: "register".
	Op string
	// URL is the base URL that was asked; empty if it was more than one, each of which has an Error within.
	URL string
	// Status is that of the answer; 0: there was none.
	Status int
	// Err is why.
	Err error

	retryAfter time.Duration
}

// Error is one line for a person.
func (e *Error) Error() string {
	text := "fleet: " + e.Op
	if e.URL != "" {
		text += " at " + e.URL
	}
	return text + ": " + strings.ReplaceAll(e.Err.Error(), "\n", "; ")
}

// Unwrap gives the reason.
func (e *Error) Unwrap() error { return e.Err }

// RetryAfter is how long the fleet asks not to be asked again, an hour at most; 0: it does not say.
func (e *Error) RetryAfter() time.Duration { return e.retryAfter }

// kinds are the types of problems of the fleet (docs/fleet-protocol.md), without what all begin with.
func kindError(kind string) error {
	switch kind {
	case "invalid":
		return registry.ErrInvalid
	case "name-taken":
		return registry.ErrNameTaken
	case "unknown-server":
		return registry.ErrUnknownServer
	case "superseded":
		return registry.ErrSuperseded
	case "denied":
		return registry.ErrDenied
	case "gap":
		return registry.ErrGap
	case "no-server":
		return registry.ErrNoServer
	case "unknown-session":
		return registry.ErrUnknownSession
	case "conflict":
		return registry.ErrConflict
	case "clock":
		return fmt.Errorf("%w: %w", registry.ErrUnavailable, ErrClock)
	case "unavailable", "internal":
		return registry.ErrUnavailable
	}
	return nil
}

// notTheFleets is an answer of something between.
func notTheFleets(format string, args ...any) error {
	return fmt.Errorf("%w: %w: %s", registry.ErrUnavailable, ErrAnswer, fmt.Sprintf(format, args...))
}

// statusText is such as "502 Bad Gateway".
func statusText(status int) string {
	return strings.TrimSpace(fmt.Sprintf("%d %s", status, http.StatusText(status)))
}
