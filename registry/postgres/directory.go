package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/waylume/waylume/registry"
)

var _ registry.Directory = (*Fleet)(nil)

// List implements [registry.Directory].
func (f *Fleet) List(ctx context.Context, filter registry.Filter) ([]registry.Server, error) {
	var now time.Time
	var answers [][]byte
	err := f.query(ctx, func(row pgx.Row) error { return row.Scan(&now, &answers) }, listSQL)
	if err != nil {
		return nil, fmt.Errorf("list servers: %w", err)
	}
	var servers []registry.Server
	for _, answer := range answers {
		var s registry.Server
		if err := decode(answer, &s); err != nil {
			return nil, fmt.Errorf("list servers: %w", err)
		}
		if filter.Match(&s, now) {
			servers = append(servers, s)
		}
	}
	return servers, nil
}

const listSQL = "select clock_timestamp(), array(select waylume_servers_list())"

// Server returns one by its ID, also one that has deregistered: that one has no HeartbeatAt. Errors: [registry.ErrUnknownServer],
// [registry.ErrInvalid], [registry.ErrUnavailable].
func (f *Fleet) Server(ctx context.Context, id registry.ID) (registry.Server, error) {
	var s registry.Server
	err := id.Validate()
	if err == nil {
		err = f.call(ctx, &s, "select waylume_server($1::uuid)", string(id))
	}
	if err == nil && s.ID == "" {
		err = registry.ErrUnknownServer
	}
	if err != nil {
		return registry.Server{}, fmt.Errorf("server %s: %w", id, err)
	}
	return s, nil
}

// selectSQL returns the time, the verdicts, and the server if one was chosen.
const selectSQL = `
select now(),
	coalesce(jsonb_agg(jsonb_build_object('server', v.server, 'name', v.name, 'reason', v.reason, 'distance', v.distance, 'weight', v.weight)
		order by v.turn), '[]'),
	(array_agg(waylume_server(v.server)) filter (where v.reason in ('current', 'drawn')))[1]
from waylume_select($1::jsonb) with ordinality as v (server, name, reason, distance, weight, turn)`

// Select implements [registry.Directory]. The database selects.
func (f *Fleet) Select(ctx context.Context, q registry.Query) (registry.Selection, error) {
	if err := q.Validate(); err != nil {
		return registry.Selection{}, err
	}
	in, err := encode(q)
	if err != nil {
		return registry.Selection{}, err
	}
	var selection registry.Selection
	var verdicts, server []byte
	err = f.query(ctx, func(row pgx.Row) error { return row.Scan(&selection.At, &verdicts, &server) }, selectSQL, in)
	if err == nil {
		err = decode(verdicts, &selection.Verdicts)
	}
	if err == nil && server != nil {
		err = decode(server, &selection.Server)
	}
	if err != nil {
		return registry.Selection{}, fmt.Errorf("select a server: %w", err)
	}
	return selection, selection.Err()
}
