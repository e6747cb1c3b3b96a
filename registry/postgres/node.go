package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/waylume/waylume/registry"
)

var _ registry.Registry = (*Fleet)(nil)

// Register implements [registry.Registry].
func (f *Fleet) Register(ctx context.Context, r registry.Registration) (registry.Registered, error) {
	var registered registry.Registered
	if err := r.Validate(); err != nil {
		return registered, err
	}
	in, err := encode(r)
	if err == nil {
		err = f.call(ctx, &registered, "select waylume_register($1::jsonb)", in)
	}
	if err != nil {
		return registry.Registered{}, fmt.Errorf("register %s: %w", r.Name, err)
	}
	return registered, nil
}

// Heartbeat implements [registry.Registry].
func (f *Fleet) Heartbeat(ctx context.Context, h registry.Heartbeat) (registry.Answer, error) {
	var answer registry.Answer
	if err := h.Validate(); err != nil {
		return answer, err
	}
	in, err := encode(h)
	if err == nil {
		err = f.call(ctx, &answer, "select waylume_heartbeat($1::jsonb)", in)
	}
	if err != nil {
		return registry.Answer{}, fmt.Errorf("heartbeat: %w", err)
	}
	return answer, nil
}

// Drain implements [registry.Registry].
func (f *Fleet) Drain(ctx context.Context, server registry.ID, draining bool) error {
	return f.do(ctx, "drain", server, "select waylume_drain($1::uuid, $2)", string(server), draining)
}

// SetDraining says what whoever runs the fleet wants: the node learns it with its next heartbeat. Errors: as of
// [registry.Registry].Drain.
func (f *Fleet) SetDraining(ctx context.Context, server registry.ID, draining bool) error {
	return f.do(ctx, "drain", server, "select waylume_set_draining($1::uuid, $2)", string(server), draining)
}

// Deregister implements [registry.Registry].
func (f *Fleet) Deregister(ctx context.Context, server registry.ID) error {
	return f.do(ctx, "deregister", server, "select waylume_deregister($1::uuid)", string(server))
}

// do calls a function that returns nothing.
func (f *Fleet) do(ctx context.Context, what string, server registry.ID, sql string, args ...any) error {
	err := server.Validate()
	if err == nil {
		err = f.query(ctx, func(row pgx.Row) error { return row.Scan(new(any)) }, sql, args...)
	}
	if err != nil {
		return fmt.Errorf("%s %s: %w", what, server, err)
	}
	return nil
}

// ReportUsage implements [registry.Registry].
func (f *Fleet) ReportUsage(ctx context.Context, r registry.UsageReport) (registry.UsageReceipt, error) {
	var receipt registry.UsageReceipt
	if err := r.Validate(); err != nil {
		return receipt, err
	}
	in, err := encode(r)
	if err == nil {
		err = f.call(ctx, &receipt, "select waylume_report_usage($1::jsonb)", in)
	}
	if err != nil {
		return registry.UsageReceipt{}, fmt.Errorf("report usage: %w", err)
	}
	return receipt, nil
}
