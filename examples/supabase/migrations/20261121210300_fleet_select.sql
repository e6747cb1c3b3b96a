-- +goose Up

-- The selection: the same rule as the Go function registry.Select, whose comments explain it. To plan the query anew for each
-- call would take longer than to carry it out, and would find the same plan.

-- Refuses a query that breaks a rule.
-- +goose StatementBegin
create function waylume__check_query(q jsonb) returns void
language plpgsql stable as $$
declare
	place jsonb := waylume__field(q, 'position', 'object');
begin
	perform waylume__text(q, 'region', 64), waylume__text(q, 'city', 64), waylume__text(q, 'pool', 64),
		waylume__texts(q, 'features', 32, 64), waylume__integer(q, 'slack', 0, 20000), waylume__text(q, 'session_key', 128),
		waylume__uuid(q, 'current'), waylume__uuids(q, 'exclude', 64), waylume__integer(q, 'freshness', 0, 86400),
		waylume__number(q, 'max_load', 0, 1);
	if waylume__text(q, 'country', 2) !~ '^([A-Z]{2})?$' then
		perform waylume__refuse('WL001', 'country: is two capitals, as ISO 3166-1 has them');
	end if;
	if waylume__integer(q, 'family', 0, 6) not in (0, 4, 6) then
		perform waylume__refuse('WL001', 'family: is 4, 6, or 0 for either');
	end if;
	if place is not null then
		perform waylume__number(place, 'latitude', -90, 90), waylume__number(place, 'longitude', -180, 180);
	end if;
end $$;
-- +goose StatementEnd

-- The number by which a server stands in the order for a key.
-- +goose StatementBegin
create function waylume__draw(key text, server uuid, weight bigint) returns double precision
language sql immutable as $$
	select -ln(((('x' || encode(substr(sha256(
			convert_to(key, 'UTF8') || '\x00'::bytea || convert_to(server::text, 'UTF8')), 1, 8), 'hex'))::bit(64)
		>> 11)::bigint::double precision + 0.5) / 9007199254740992::double precision) / weight::double precision
$$;
-- +goose StatementEnd

-- Km along the surface of the Earth, rounded.
-- +goose StatementBegin
create function waylume__distance(
	latitude1 double precision, longitude1 double precision, latitude2 double precision, longitude2 double precision) returns integer
language sql immutable as $$
	select floor(2 * 6371.0088::double precision * asin(sqrt(least(1,
		sin(radians(latitude2 - latitude1) / 2) * sin(radians(latitude2 - latitude1) / 2)
		+ cos(radians(latitude1)) * cos(radians(latitude2))
		* (sin(radians(longitude2 - longitude1) / 2) * sin(radians(longitude2 - longitude1) / 2))))) + 0.5)::integer
$$;
-- +goose StatementEnd

-- The verdicts on all servers, by a query that has been checked; the servers of others are excluded beside those of the query.
-- +goose StatementBegin
create function waylume__verdicts(query jsonb, others uuid[], key text, at timestamptz)
returns table (server uuid, name text, reason text, distance integer, weight bigint)
language plpgsql stable as $$
declare
	wanted_region text := coalesce(query ->> 'region', '');
	wanted_country text := coalesce(query ->> 'country', '');
	wanted_city text := coalesce(query ->> 'city', '');
	wanted_pool text := coalesce(nullif(query ->> 'pool', ''), 'default');
	wanted_features text[] := waylume__texts(query, 'features', 32, 64);
	family integer := coalesce((query ->> 'family')::integer, 0);
	latitude1 double precision;
	longitude1 double precision;
	slack integer := coalesce(nullif((query ->> 'slack')::integer, 0), 300);
	present uuid := waylume__uuid(query, 'current');
	excluded uuid[] := waylume__uuids(query, 'exclude', 64) || others;
	freshness interval := make_interval(secs => coalesce(nullif((query ->> 'freshness')::integer, 0), 60));
	most double precision := coalesce(nullif((query ->> 'max_load')::double precision, 0), 0.95);
begin
	if jsonb_typeof(query -> 'position') = 'object' then
		latitude1 := coalesce((query -> 'position' ->> 'latitude')::double precision, 0);
		longitude1 := coalesce((query -> 'position' ->> 'longitude')::double precision, 0);
	end if;
	return query
	with judged as (
		select s.id, s.name as called,
			case when latitude1 is not null and s.latitude is not null
				then waylume__distance(latitude1, longitude1, s.latitude, s.longitude) end as km,
			greatest(1, floor(greatest(1, coalesce(nullif(s.capacity_peers, 0), 10000) - greatest(s.peers, s.assigned))::double precision
				* (1 - least(greatest(s.load, 0), 1))))::bigint as room,
			case
				when s.id = any (excluded) then 'excluded'
				when s.api_url = '' then 'no_api'
				when s.pool <> wanted_pool then 'pool'
				when wanted_region <> '' and s.region <> wanted_region then 'region'
				when wanted_country <> '' and s.country <> wanted_country then 'country'
				when wanted_city <> '' and s.city <> wanted_city then 'city'
				when not s.features @> wanted_features then 'feature'
				when family = 4 and s.endpoint_v4 is null or family = 6 and s.endpoint_v6 is null
					or s.endpoint_v4 is null and s.endpoint_v6 is null then 'endpoint'
				when s.heartbeat_at < at - freshness then 'stale'
				when s.health = 'failing' then 'unhealthy'
				when s.node_draining or s.fleet_draining then 'draining'
				when s.capacity_peers > 0 and greatest(s.peers, s.assigned) >= s.capacity_peers then 'full'
				when most < 1 and s.load >= most then 'overloaded'
			end as against
		from waylume_servers s
		where s.heartbeat_at is not null
	), nearest as (
		select min(j.km) as km from judged j where j.against is null
	), sifted as (
		select j.*, coalesce(j.against,
			case when j.id = present then 'current' when n.km is null or j.km <= n.km + slack then 'not_drawn' else 'distance' end) as verdict
		from judged j cross join nearest n
	), drawn as (
		select f.*, case when f.verdict = 'not_drawn' then waylume__draw(key, f.id, f.room) end as lot from sifted f
	), ordered as (
		select d.*, row_number() over (order by case d.verdict when 'current' then 0 when 'not_drawn' then 1 else 2 end,
			d.lot, case when d.lot is null then d.called end collate "C", d.id) as place
		from drawn d
	)
	select o.id, o.called, case when o.place = 1 and o.verdict = 'not_drawn' then 'drawn' else o.verdict end, coalesce(o.km, -1),
		case when o.verdict in ('current', 'not_drawn') then o.room else 0 end
	from ordered o
	order by o.place;
end $$;
-- +goose StatementEnd

-- registry.Query in; registry.Verdict out, in the order of Selection.Verdicts. The first was chosen if its reason is current or drawn.
-- +goose StatementBegin
create function waylume_select(query jsonb, at timestamptz default now())
returns table (server uuid, name text, reason text, distance integer, weight bigint)
language plpgsql stable security definer set search_path = pg_catalog, public, pg_temp set plan_cache_mode = force_generic_plan as $$
begin
	perform waylume__check_query(query);
	return query select * from waylume__verdicts(query, '{}', coalesce(nullif(query ->> 'session_key', ''), gen_random_uuid()::text), at);
end $$;
-- +goose StatementEnd

-- The server that a session goes to. That there is none is refused, with what is against each.
-- +goose StatementBegin
create function waylume__choose(query jsonb, others uuid[], key text) returns uuid
language plpgsql volatile as $$
declare
	best record;
begin
	select * into best from waylume__verdicts(query, others, key, clock_timestamp()) limit 1;
	if best.reason in ('current', 'drawn') then
		return best.server;
	end if;
	perform waylume__refuse('WL007', 'no server meets the query', (
		select coalesce(string_agg(format('%s %s (%s%s)', c.many, c.reason, c.some, case when c.many > 3 then ', ...' else '' end), ', '
			order by c.many desc, c.reason), 'there are no servers')
		from (
			select v.reason, count(*) as many, array_to_string((array_agg(v.name))[1:3], ', ') as some
			from waylume__verdicts(query, others, key, clock_timestamp()) v group by v.reason
		) c));
end $$;
-- +goose StatementEnd
