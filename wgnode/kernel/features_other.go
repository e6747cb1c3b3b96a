//go:build !linux

package kernel

import "context"

// Features fails with an error that matches wgnode.ErrNotSupported.
func Features(context.Context) ([]Feature, error) { return nil, unsupported() }

// Firewalls fails with an error that matches wgnode.ErrNotSupported.
func Firewalls(context.Context) ([]Firewall, error) { return nil, unsupported() }

// IPTablesLegacy returns false.
func IPTablesLegacy() bool { return false }
