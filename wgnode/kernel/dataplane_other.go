//go:build !linux

package kernel

import (
	"context"
	"net/netip"

	"github.com/waylume/waylume/wgnode"
)

// Dataplane is a wgnode.Dataplane in the Linux kernel, which this system does not have.
type Dataplane struct{}

var _ wgnode.Dataplane = (*Dataplane)(nil)

func unsupported() error {
	return &wgnode.NotSupportedError{Feature: "the kernel dataplane", Requires: "Linux; elsewhere use package userspace"}
}

// New checks cfg and fails with an error that matches wgnode.ErrNotSupported.
func New(cfg Config) (*Dataplane, error) {
	if _, err := cfg.withDefaults(); err != nil {
		return nil, err
	}
	return nil, unsupported()
}

// Supported returns an error that matches wgnode.ErrNotSupported.
func Supported(context.Context) error { return unsupported() }

// Start fails, as do all methods but Close.
func (*Dataplane) Start(context.Context, wgnode.DataplaneConfig, wgnode.State) (wgnode.DataplaneInfo, error) {
	return wgnode.DataplaneInfo{}, unsupported()
}

// Apply fails.
func (*Dataplane) Apply(context.Context, wgnode.Change) error { return unsupported() }

// Sync fails.
func (*Dataplane) Sync(context.Context, wgnode.State) ([]wgnode.Repair, error) {
	return nil, unsupported()
}

// Stats fails.
func (*Dataplane) Stats(context.Context, wgnode.StatsQuery) (wgnode.Stats, error) {
	return wgnode.Stats{}, unsupported()
}

// SetControlAllow fails.
func (*Dataplane) SetControlAllow(context.Context, []netip.Prefix) error { return unsupported() }

// Close does nothing.
func (*Dataplane) Close() error { return nil }
