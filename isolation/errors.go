package isolation

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// Conditions that errors of this package match with [errors.Is].
var (
	// ErrPolicy is matched by every error about what a policy, a host address or a pool says.
	ErrPolicy = errors.New("isolation: policy refused")
	// ErrSubject is matched by every error about what a subject says.
	ErrSubject = errors.New("isolation: subject refused")
	// ErrAddressInUse is matched when a subject claims an address that another subject holds.
	ErrAddressInUse = errors.New("isolation: address in use")
)

// PolicyError names every problem of a policy. It matches [ErrPolicy].
type PolicyError struct {
	// Problems are sentences for a person, each beginning with the place: "allow[2] "dns": ports: ...".
	Problems []string
}

// Error lists all problems.
func (e *PolicyError) Error() string { return "isolation: policy: " + strings.Join(e.Problems, "; ") }

// Unwrap returns [ErrPolicy].
func (e *PolicyError) Unwrap() error { return ErrPolicy }

// SubjectError names every problem of a subject. It matches [ErrSubject].
type SubjectError struct {
	// ID is the subject's, cut to 40 bytes.
	ID string
	// Problems are sentences for a person.
	Problems []string
}

// Error lists all problems.
func (e *SubjectError) Error() string {
	return fmt.Sprintf("isolation: subject %q: %s", e.ID, strings.Join(e.Problems, "; "))
}

// Unwrap returns [ErrSubject].
func (e *SubjectError) Unwrap() error { return ErrSubject }

// AddressError reports an address that two subjects claim. It matches [ErrAddressInUse].
type AddressError struct {
	Addr netip.Addr
	// ID is the subject that claimed it, Holder the one that holds it.
	ID, Holder string
}

// Error says who holds the address.
func (e *AddressError) Error() string {
	return fmt.Sprintf("isolation: subject %q: address %s belongs to subject %q: remove it there first", e.ID, e.Addr, e.Holder)
}

// Unwrap returns [ErrAddressInUse].
func (e *AddressError) Unwrap() error { return ErrAddressInUse }
