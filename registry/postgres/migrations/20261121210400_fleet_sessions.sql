-- +goose Up

-- The control plane's side: sessions. Whoever changes one locks first the session, then servers in the order of their IDs.

-- A session as the Go type registry.Session.
-- +goose StatementBegin
create function waylume__session(s vpn_sessions) returns jsonb
language sql stable as $$
	select jsonb_strip_nulls(jsonb_build_object(
		'id', s.id, 'user', s.user_id, 'idempotency_key', s.idempotency_key, 'public_key', s.public_key,
		'state', s.state, 'server', s.server_id, 'generation', s.generation, 'addresses', nullif(to_jsonb(s.addresses), '[]'),
		'download', s.download, 'upload', s.upload, 'created_at', waylume__stamp(s.created_at), 'placed_at', waylume__stamp(s.placed_at),
		'confirmed_at', nullif(waylume__stamp(s.confirmed_at), '0001-01-01T00:00:00Z'),
		'expires_at', nullif(waylume__stamp(s.expires_at), '0001-01-01T00:00:00Z'),
		'ended_at', nullif(waylume__stamp(s.ended_at), '0001-01-01T00:00:00Z'), 'end_reason', nullif(s.end_reason, '')))
		|| jsonb_build_object('query', s.query) || case when s.peer is null then '{}' else jsonb_build_object('peer', s.peer) end
$$;
-- +goose StatementEnd

-- The session, locked until the end of the transaction. That there is none is refused.
-- +goose StatementBegin
create function waylume__lock_session(session uuid) returns vpn_sessions
language plpgsql as $$
declare
	s vpn_sessions;
begin
	select * into s from vpn_sessions v where v.id = session for no key update;
	if not found then
		perform waylume__refuse('WL008', 'unknown session');
	end if;
	return s;
end $$;
-- +goose StatementEnd

-- Refuses unless the session is in the generation, and has not ended.
-- +goose StatementBegin
create function waylume__hold(s vpn_sessions, generation bigint) returns void
language plpgsql as $$
begin
	if s.state = 'ended' then
		perform waylume__refuse('WL009', 'the session has ended');
	end if;
	if s.generation is distinct from generation then
		perform waylume__refuse('WL009', format('the session is in generation %s, not %s', s.generation, generation));
	end if;
end $$;
-- +goose StatementEnd

-- Takes a place on a server if it still has one: between the selection and this, others may have come. It locks the server.
-- +goose StatementBegin
create function waylume__take_place(server uuid) returns boolean
language plpgsql as $$
begin
	update waylume_servers s set assigned = s.assigned + 1
	where s.id = server and s.heartbeat_at is not null and not s.node_draining and not s.fleet_draining
		and (s.capacity_peers = 0 or greatest(s.peers, s.assigned) < s.capacity_peers);
	return found;
end $$;
-- +goose StatementEnd

-- Has the owner of a session drop it. The owner's row stays locked until the end of the transaction, so that releases become
-- visible in the order of their sequence.
-- +goose StatementBegin
create function waylume__release(s vpn_sessions) returns void
language plpgsql as $$
declare
	turn bigint;
begin
	update waylume_servers o set release_sequence = o.release_sequence + 1, assigned = greatest(o.assigned - 1, 0)
	where o.id = s.server_id returning o.release_sequence into turn;
	update vpn_placements p set released_at = clock_timestamp(), release_sequence = turn
	where p.session_id = s.id and p.generation = s.generation;
end $$;
-- +goose StatementEnd

-- registry.NewSession in, registry.Session out.
-- +goose StatementBegin
create function waylume_session_begin(session jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, public, pg_temp set plan_cache_mode = force_generic_plan as $$
declare
	n jsonb := session;
	s vpn_sessions;
	owner text := waylume__text(n, 'user', 128, true);
	idempotency text := waylume__text(n, 'idempotency_key', 128, true);
	client text := waylume__key(n, 'public_key');
	wish jsonb := coalesce(waylume__field(n, 'query', 'object'), '{}');
	expiry timestamptz := waylume__time(n, 'expires_at');
	its uuid := gen_random_uuid();
	target uuid;
begin
	perform waylume__check_query(wish);
	if coalesce(wish ->> 'session_key', '') <> '' then
		perform waylume__refuse('WL001', 'query.session_key: is there: the session''s ID is taken, leave it empty');
	end if;
	if octet_length((n -> 'peer')::text) > 65536 then
		perform waylume__refuse('WL001', 'peer: is longer than 64 KiB');
	end if;
	-- Those who ask for one session at once come one after the other: each after the first sees what that one has made.
	perform pg_advisory_xact_lock(hashtextextended(idempotency, hashtextextended(owner, 0)));
	loop
		select * into s from vpn_sessions v where v.user_id = owner and v.idempotency_key = idempotency;
		if found then
			if s.public_key <> client then
				perform waylume__refuse('WL009', 'the idempotency key was used for another public key');
			end if;
			return waylume__session(s);
		end if;
		if exists (select from vpn_sessions v where v.public_key = client and v.state <> 'ended') then
			perform waylume__refuse('WL009', 'the public key is that of another session, which has not ended');
		end if;
		target := waylume__choose(wish, '{}', its::text);
		insert into vpn_sessions (id, user_id, idempotency_key, public_key, query, peer, server_id, created_at, placed_at, expires_at)
		values (its, owner, idempotency, client, wish, nullif(n -> 'peer', 'null'), target, clock_timestamp(), clock_timestamp(), expiry)
		on conflict do nothing
		returning * into s;
		exit when found; -- else somebody was faster: there is one now
	end loop;
	while not waylume__take_place(target) loop
		target := waylume__choose(wish, '{}', its::text);
	end loop;
	if target <> s.server_id then
		update vpn_sessions v set server_id = target where v.id = its returning * into s;
	end if;
	insert into vpn_placements (session_id, generation, server_id, public_key, placed_at) values (its, 1, target, client, s.placed_at);
	return waylume__session(s);
end $$;
-- +goose StatementEnd

-- +goose StatementBegin
create function waylume_session_confirm(session uuid, generation bigint, addresses text[]) returns jsonb
language plpgsql security definer set search_path = pg_catalog, public, pg_temp as $$
declare
	s vpn_sessions := waylume__lock_session(session);
	canonical text[] := '{}';
	one text;
begin
	perform waylume__hold(s, generation);
	foreach one in array coalesce(addresses, '{}') loop
		if one ~ '/' then
			perform waylume__refuse('WL001', 'addresses: are addresses, not prefixes');
		end if;
		canonical := canonical || host(one::inet);
	end loop;
	update vpn_sessions v set state = 'active', addresses = canonical,
		confirmed_at = case when v.state = 'active' then v.confirmed_at else clock_timestamp() end
	where v.id = s.id returning * into s;
	return waylume__session(s);
exception when invalid_text_representation then
	raise exception using errcode = 'WL001', message = 'addresses: one is no IP address';
end $$;
-- +goose StatementEnd

-- +goose StatementBegin
create function waylume_session_move(session uuid, generation bigint, exclude uuid[] default '{}') returns jsonb
language plpgsql security definer set search_path = pg_catalog, public, pg_temp set plan_cache_mode = force_generic_plan as $$
declare
	s vpn_sessions := waylume__lock_session(session);
	wish jsonb := s.query - 'current';
	target uuid;
begin
	perform waylume__hold(s, generation);
	if cardinality(exclude) > 64 then
		perform waylume__refuse('WL001', 'exclude: has more than 64 servers');
	end if;
	-- A session that nobody serves is better served slowly.
	if not exists (select from waylume_servers o where o.id = s.server_id and o.heartbeat_at >=
			clock_timestamp() - make_interval(secs => coalesce(nullif((wish ->> 'freshness')::integer, 0), 60))) then
		wish := wish || '{"max_load": 1}';
	end if;
	loop
		target := waylume__choose(wish, coalesce(exclude, '{}') || s.server_id, s.id::text);
		perform from waylume_servers o where o.id in (s.server_id, target) order by o.id for no key update;
		exit when waylume__take_place(target);
	end loop;
	perform waylume__release(s);
	insert into node_events (server_id, kind, detail) values (s.server_id, 'session_moved',
		jsonb_build_object('session', s.id, 'to', target, 'generation', s.generation + 1));
	update vpn_sessions v set server_id = target, generation = v.generation + 1, state = 'placing',
		placed_at = clock_timestamp(), confirmed_at = null
	where v.id = s.id returning * into s;
	insert into vpn_placements (session_id, generation, server_id, public_key, placed_at)
	values (s.id, s.generation, target, s.public_key, s.placed_at);
	return waylume__session(s);
end $$;
-- +goose StatementEnd

-- +goose StatementBegin
create function waylume_session_end(session uuid, reason text) returns jsonb
language plpgsql security definer set search_path = pg_catalog, public, pg_temp as $$
declare
	s vpn_sessions := waylume__lock_session(session);
begin
	if s.state <> 'ended' then
		perform waylume__release(s);
		update vpn_sessions v set state = 'ended', ended_at = clock_timestamp(), end_reason = coalesce(reason, '')
		where v.id = s.id returning * into s;
	end if;
	return waylume__session(s);
end $$;
-- +goose StatementEnd

-- Null where there is no such session.
-- +goose StatementBegin
create function waylume_session(session uuid) returns jsonb
language sql stable security definer set search_path = pg_catalog, public, pg_temp as $$
	select waylume__session(s) from vpn_sessions s where s.id = session
$$;
-- +goose StatementEnd

-- Sessions to be moved or ended, the oldest placement first. Servers that were found silent are noted, once for each silence.
-- +goose StatementBegin
create function waylume_sessions_stranded(seconds integer, lim integer) returns setof jsonb
language plpgsql security definer set search_path = pg_catalog, public, pg_temp as $$
declare
	patience interval := make_interval(secs => coalesce(nullif(seconds, 0), 60));
	moment timestamptz := clock_timestamp();
	lost uuid[] := array(
		select o.id from waylume_servers o
		where o.heartbeat_at is null or o.heartbeat_at < moment - patience or o.node_draining or o.fleet_draining);
begin
	if seconds < 0 or lim is null or lim < 1 then
		perform waylume__refuse('WL001', 'seconds: is at least 0; lim: is at least 1');
	end if;
	insert into node_events (server_id, kind, detail)
	select o.id, 'stale', jsonb_build_object('heartbeat_at', waylume__stamp(o.heartbeat_at))
	from waylume_servers o
	where o.heartbeat_at < moment - patience
		and not exists (select from node_events e where e.server_id = o.id and e.kind = 'stale' and e.at >= o.heartbeat_at);
	return query
	select waylume__session(s)
	from vpn_sessions s
	where s.state <> 'ended' and (
		s.server_id = any (lost)
		or s.state = 'placing' and s.placed_at < moment - patience
		or s.expires_at <= moment)
	order by s.placed_at, s.id
	limit lim;
end $$;
-- +goose StatementEnd
