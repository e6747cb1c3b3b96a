-- +goose Up

-- The node's side: registration, heartbeats, draining, leaving; and servers as JSON.

-- A server as the Go type registry.Server.
-- +goose StatementBegin
create function waylume__server(s waylume_servers) returns jsonb
language sql stable as $$
	select jsonb_strip_nulls(jsonb_build_object(
		'id', s.id, 'name', s.name, 'public_key', s.public_key, 'endpoint_v4', s.endpoint_v4, 'endpoint_v6', s.endpoint_v6,
		'api_url', nullif(s.api_url, ''), 'audience', nullif(s.audience, ''),
		'region', nullif(s.region, ''), 'country', nullif(s.country, ''), 'city', nullif(s.city, ''),
		'position', case when s.latitude is not null then jsonb_build_object('latitude', s.latitude, 'longitude', s.longitude) end,
		'pool', s.pool,
		'capacity', nullif(jsonb_build_object('peers', nullif(s.capacity_peers, 0), 'rate', nullif(s.capacity_rate, 0)),
			'{"peers": null, "rate": null}'),
		'version', nullif(s.version, ''), 'features', nullif(to_jsonb(s.features), '[]'),
		'peers', s.peers, 'connected', s.connected, 'health', s.health, 'reasons', nullif(to_jsonb(s.reasons), '[]'),
		'load', s.measured,
		'draining', s.node_draining or s.fleet_draining, 'assigned', s.assigned, 'incarnation', s.incarnation,
		'registered_at', waylume__stamp(s.registered_at), 'heartbeat_at', waylume__stamp(s.heartbeat_at)))
$$;
-- +goose StatementEnd

-- Null where there is no such server; one that has deregistered has no time of a heartbeat.
-- +goose StatementBegin
create function waylume_server(server uuid) returns jsonb
language sql stable security definer set search_path = pg_catalog, public, pg_temp as $$
	select waylume__server(s) from waylume_servers s where s.id = server
$$;
-- +goose StatementEnd

-- All that have not deregistered.
-- +goose StatementBegin
create function waylume_servers_list() returns setof jsonb
language sql stable security definer set search_path = pg_catalog, public, pg_temp as $$
	select waylume__server(s) from waylume_servers s where s.heartbeat_at is not null order by s.name collate "C"
$$;
-- +goose StatementEnd

-- registry.Registration in, registry.Registered out.
-- +goose StatementBegin
create function waylume_register(registration jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, public, pg_temp as $$
declare
	r jsonb := registration;
	n waylume_servers;
	place jsonb := waylume__field(r, 'position', 'object');
	room jsonb := coalesce(waylume__field(r, 'capacity', 'object'), '{}');
begin
	n.name := waylume__text(r, 'name', 64, true);
	if n.name !~ '^[A-Za-z0-9._-]+$' then
		perform waylume__refuse('WL001', 'name: is of letters, digits, ''.'', ''_'' and ''-''');
	end if;
	n.public_key := waylume__key(r, 'public_key');
	n.endpoint_v4 := waylume__endpoint(r, 'endpoint_v4', 4);
	n.endpoint_v6 := waylume__endpoint(r, 'endpoint_v6', 6);
	if n.endpoint_v4 is null and n.endpoint_v6 is null then
		perform waylume__refuse('WL001', 'endpoint_v4, endpoint_v6: one of them is needed');
	end if;
	n.api_url := rtrim(waylume__text(r, 'api_url', 512), '/');
	if n.api_url <> '' and n.api_url !~ '^https?://[^/?#@[:space:]]+$' then
		perform waylume__refuse('WL001', 'api_url: is https://HOST:PORT or http://HOST:PORT');
	end if;
	n.country := waylume__text(r, 'country', 2);
	if n.country <> '' and n.country !~ '^[A-Z]{2}$' then
		perform waylume__refuse('WL001', 'country: is two capitals, as ISO 3166-1 has them');
	end if;
	if place is not null then
		n.latitude := coalesce(waylume__number(place, 'latitude', -90, 90), 0);
		n.longitude := coalesce(waylume__number(place, 'longitude', -180, 180), 0);
	end if;
	insert into waylume_servers as s (
		name, public_key, endpoint_v4, endpoint_v6, api_url, audience, region, country, city, latitude, longitude, pool,
		capacity_peers, capacity_rate, version, features, registered_at, heartbeat_at)
	values (
		n.name, n.public_key, n.endpoint_v4, n.endpoint_v6, n.api_url, coalesce(nullif(waylume__text(r, 'audience', 512), ''), n.name),
		waylume__text(r, 'region', 64), n.country, waylume__text(r, 'city', 64), n.latitude, n.longitude,
		coalesce(nullif(waylume__text(r, 'pool', 64), ''), 'default'),
		waylume__integer(room, 'peers', 0, 1 << 24), waylume__integer(room, 'rate', 0, 9223372036854775807),
		waylume__text(r, 'version', 64), waylume__texts(r, 'features', 32, 64), clock_timestamp(), clock_timestamp())
	on conflict (name) do update set
		public_key = excluded.public_key, endpoint_v4 = excluded.endpoint_v4, endpoint_v6 = excluded.endpoint_v6,
		api_url = excluded.api_url, audience = excluded.audience, region = excluded.region, country = excluded.country,
		city = excluded.city, latitude = excluded.latitude, longitude = excluded.longitude, pool = excluded.pool,
		capacity_peers = excluded.capacity_peers, capacity_rate = excluded.capacity_rate, version = excluded.version,
		features = excluded.features, incarnation = s.incarnation + 1, heartbeat_sequence = 0,
		peers = 0, connected = 0, health = 'healthy', reasons = '{}', load = 0, measured = null,
		registered_at = excluded.registered_at, heartbeat_at = excluded.heartbeat_at, deregistered_at = null
	where s.public_key = excluded.public_key or s.heartbeat_at is null or s.heartbeat_at < clock_timestamp() - interval '60 seconds'
	returning * into n;
	if not found then
		perform waylume__refuse('WL002', 'another node, with another public key, is alive under this name');
	end if;
	return jsonb_build_object('server', n.id, 'incarnation', n.incarnation, 'usage_sequence', n.usage_sequence);
end $$;
-- +goose StatementEnd

-- The database was set back, to a backup or to a standby that was behind, and the node has carried out releases that are not known
-- any more: the numbers up to the last of them may since be those of others. All that it has not acknowledged get new ones. The
-- server is locked.
-- +goose StatementBegin
create function waylume__renumber_releases(s waylume_servers, done bigint) returns waylume_servers
language plpgsql as $$
declare
	base bigint := greatest(done, s.release_sequence); -- so that no new number is an old one
	many bigint;
begin
	update vpn_placements p set release_sequence = base + n.turn
	from (
		select v.session_id, v.generation, row_number() over (order by v.release_sequence) as turn
		from vpn_placements v where v.server_id = s.id and v.release_sequence > s.released_sequence
	) n
	where p.session_id = n.session_id and p.generation = n.generation;
	get diagnostics many = row_count;
	update waylume_servers o
	set release_sequence = base + many, told_sequence = base + least(many, 1000), released_sequence = base
	where o.id = s.id returning * into s;
	return s;
end $$;
-- +goose StatementEnd

-- registry.Heartbeat in, registry.Answer out. One statement writes: the update.
-- +goose StatementBegin
create function waylume_heartbeat(heartbeat jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, public, pg_temp as $$
declare
	h jsonb := heartbeat;
	s waylume_servers;
	it uuid := waylume__uuid(h, 'server');
	life bigint := waylume__integer(h, 'incarnation', 1, 9223372036854775807);
	turn bigint := waylume__integer(h, 'sequence', 1, 9223372036854775807);
	done bigint := waylume__integer(h, 'released', 0, 9007199254740992);
	state text := coalesce(nullif(waylume__text(h, 'health', 16), ''), 'healthy');
	measure jsonb := waylume__field(h, 'load', 'object');
	score double precision := coalesce(waylume__number(coalesce(measure, '{}'), 'score', 0, 1), 0);
	wish text := coalesce(nullif(waylume__text(coalesce(measure, '{}'), 'scaling', 16), ''), 'steady');
	waiting jsonb;
	answer jsonb;
begin
	if state not in ('healthy', 'degraded', 'failing') then
		perform waylume__refuse('WL001', 'health: is healthy, degraded or failing');
	end if;
	if wish not in ('steady', 'scale_out', 'scale_in') then
		perform waylume__refuse('WL001', 'load.scaling: is steady, scale_out or scale_in');
	end if;
	if octet_length(measure::text) > 4096 then
		perform waylume__refuse('WL001', 'load: is longer than a load can be');
	end if;
	update waylume_servers set
		peers = waylume__integer(h, 'peers', 0, 1 << 24), connected = waylume__integer(h, 'connected', 0, 1 << 24),
		health = state, reasons = waylume__texts(h, 'reasons', 16, 256), load = score, measured = measure, scaling = wish,
		node_draining = waylume__boolean(h, 'draining'), heartbeat_sequence = turn,
		released_sequence = case when done <= told_sequence then greatest(released_sequence, done) else released_sequence end,
		told_sequence = greatest(told_sequence, least(release_sequence, greatest(released_sequence, done) + 1000)),
		heartbeat_at = clock_timestamp()
	where id = it and incarnation = life and heartbeat_sequence < turn and heartbeat_at is not null
	returning * into s;
	if not found then
		select * into s from waylume_servers where id = it;
		if not found or s.heartbeat_at is null or s.incarnation < life then
			perform waylume__refuse('WL003', 'the server is not registered: register it');
		end if;
		if s.incarnation > life then
			perform waylume__refuse('WL004', 'another process has registered as this server since');
		end if;
	elsif s.released_sequence < done then -- it has released what it was never told of
		s := waylume__renumber_releases(s, done);
	end if;
	answer := jsonb_build_object('now', waylume__stamp(clock_timestamp()), 'draining', s.fleet_draining);
	done := greatest(done, s.released_sequence);
	if s.release_sequence <= done then
		return answer;
	end if;
	select jsonb_agg(jsonb_build_object('sequence', p.release_sequence, 'session', p.session_id, 'generation', p.generation,
			'public_key', p.public_key) order by p.release_sequence)
	into waiting
	from (
		select * from vpn_placements v where v.server_id = it and v.release_sequence > done order by v.release_sequence limit 1001
	) p;
	if jsonb_array_length(waiting) > 1000 then
		return answer || jsonb_build_object('releases', waiting - 1000, 'more', true);
	end if;
	return answer || jsonb_strip_nulls(jsonb_build_object('releases', waiting));
end $$;
-- +goose StatementEnd

-- What the node wants.
-- +goose StatementBegin
create function waylume_drain(server uuid, draining boolean) returns void
language plpgsql security definer set search_path = pg_catalog, public, pg_temp as $$
begin
	update waylume_servers s set node_draining = draining where s.id = server and s.heartbeat_at is not null;
	if not found then
		perform waylume__refuse('WL003', 'the server is not registered: register it');
	end if;
end $$;
-- +goose StatementEnd

-- What whoever runs the fleet wants: the node learns it with its next heartbeat.
-- +goose StatementBegin
create function waylume_set_draining(server uuid, draining boolean) returns void
language plpgsql security definer set search_path = pg_catalog, public, pg_temp as $$
begin
	update waylume_servers s set fleet_draining = draining where s.id = server and s.heartbeat_at is not null;
	if not found then
		perform waylume__refuse('WL003', 'there is no such server, or it has deregistered');
	end if;
end $$;
-- +goose StatementEnd

-- +goose StatementBegin
create function waylume_deregister(server uuid) returns void
language sql security definer set search_path = pg_catalog, public, pg_temp as $$
	update waylume_servers s set heartbeat_at = null, deregistered_at = clock_timestamp(), peers = 0, connected = 0
	where s.id = server and s.heartbeat_at is not null
$$;
-- +goose StatementEnd

-- What changes about a server other than its figures is told at once, and noted.
-- +goose StatementBegin
create function waylume__server_changed() returns trigger
language plpgsql security definer set search_path = pg_catalog, public, pg_temp as $$
begin
	if tg_op = 'DELETE' then
		perform pg_notify('waylume_servers', old.id::text);
		return old;
	end if;
	perform pg_notify('waylume_servers', new.id::text);
	if tg_op = 'INSERT' or old.incarnation <> new.incarnation then
		insert into node_events (server_id, kind, detail) values (new.id, 'registered',
			jsonb_build_object('name', new.name, 'incarnation', new.incarnation, 'version', new.version));
	end if;
	if tg_op = 'INSERT' then
		return new;
	end if;
	if new.heartbeat_at is null and old.heartbeat_at is not null then
		insert into node_events (server_id, kind) values (new.id, 'deregistered');
	end if;
	if (old.node_draining or old.fleet_draining) <> (new.node_draining or new.fleet_draining) then
		insert into node_events (server_id, kind, detail) values (new.id,
			case when new.node_draining or new.fleet_draining then 'draining' else 'undraining' end,
			jsonb_build_object('node', new.node_draining, 'fleet', new.fleet_draining));
	end if;
	if old.health <> new.health then
		insert into node_events (server_id, kind, detail) values (new.id, 'health',
			jsonb_build_object('from', old.health, 'to', new.health, 'reasons', new.reasons));
	end if;
	if old.scaling <> new.scaling then
		insert into node_events (server_id, kind, detail) values (new.id, 'scaling',
			jsonb_build_object('from', old.scaling, 'to', new.scaling, 'load', new.load));
	end if;
	return new;
end $$;
-- +goose StatementEnd

create trigger waylume_servers_come_and_go after insert or delete on waylume_servers
	for each row execute function waylume__server_changed();

create trigger waylume_servers_change after update on waylume_servers
	for each row when (
		(old.name, old.public_key, old.endpoint_v4, old.endpoint_v6, old.api_url, old.audience, old.region, old.country, old.city,
			old.latitude, old.longitude, old.pool, old.capacity_peers, old.capacity_rate, old.version, old.features,
			old.health, old.reasons, old.scaling, old.node_draining, old.fleet_draining, old.incarnation, old.deregistered_at)
		is distinct from
		(new.name, new.public_key, new.endpoint_v4, new.endpoint_v6, new.api_url, new.audience, new.region, new.country, new.city,
			new.latitude, new.longitude, new.pool, new.capacity_peers, new.capacity_rate, new.version, new.features,
			new.health, new.reasons, new.scaling, new.node_draining, new.fleet_draining, new.incarnation, new.deregistered_at))
	execute function waylume__server_changed();
