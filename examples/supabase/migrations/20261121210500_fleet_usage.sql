-- +goose Up

-- What peers used, and what is forgotten.

-- registry.UsageReport in, registry.UsageReceipt out. Sessions are locked before the server, as everywhere.
-- +goose StatementBegin
create function waylume_report_usage(report jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, public, pg_temp as $$
declare
	r jsonb := report;
	it uuid := waylume__uuid(r, 'server');
	turn bigint := waylume__integer(r, 'sequence', 1, 9223372036854775807);
	since timestamptz := waylume__time(r, 'from');
	until timestamptz := waylume__time(r, 'to');
	usages jsonb := coalesce(waylume__field(r, 'usages', 'array'), '[]');
	last bigint;
	wrong record;
	sums jsonb;
begin
	if since is null or until is null or since > until then
		perform waylume__refuse('WL001', 'to: is not at or after from');
	end if;
	if jsonb_array_length(usages) > 5000 then
		perform waylume__refuse('WL001', 'usages: are more than 5000');
	end if;
	select s.usage_sequence into last from waylume_servers s where s.id = it;
	if not found then
		perform waylume__refuse('WL003', 'the server is not registered: register it');
	end if;
	if turn <= last then
		return jsonb_build_object('sequence', last);
	end if;
	select min(u.turn) as turn into wrong from jsonb_array_elements(usages) with ordinality u (u, turn)
	where jsonb_typeof(u.u) <> 'object'
		or coalesce(u.u ->> 'public_key', '') !~ '^[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=$' or u.u ->> 'public_key' ~ '^A{43}=$'
		or coalesce(u.u ->> 'download', '0') !~ '^\d{1,16}$' or coalesce(u.u ->> 'upload', '0') !~ '^\d{1,16}$'
		or greatest((u.u ->> 'download')::numeric, (u.u ->> 'upload')::numeric) > 1125899906842624;
	if wrong.turn is not null then
		perform waylume__refuse('WL001', format('usages[%s]: is a key and two whole numbers of bytes, of 1 PiB at most', wrong.turn - 1));
	end if;
	-- Whose each key is: that of its latest placement here up to then, else of the earliest.
	select jsonb_agg(jsonb_build_object('key', k.key, 'download', k.download, 'upload', k.upload,
		'session', p.session_id, 'generation', p.generation))
	into sums
	from (
		select u ->> 'public_key' as key, sum(coalesce((u ->> 'download')::bigint, 0)) as download,
			sum(coalesce((u ->> 'upload')::bigint, 0)) as upload
		from jsonb_array_elements(usages) u group by 1
	) k left join lateral (
		select v.session_id, v.generation from vpn_placements v
		where v.server_id = it and v.public_key = k.key
		order by v.placed_at > until, case when v.placed_at <= until then v.placed_at end desc, v.placed_at, v.generation desc
		limit 1
	) p on true;
	perform from vpn_sessions s
	where s.id in (select (e ->> 'session')::uuid from jsonb_array_elements(sums) e) order by s.id for no key update;
	update waylume_servers s set usage_sequence = turn where s.id = it and s.usage_sequence = turn - 1;
	if not found then
		select s.usage_sequence into last from waylume_servers s where s.id = it;
		if turn <= last then
			return jsonb_build_object('sequence', last);
		end if;
		perform waylume__refuse('WL006', format('report %s is missing: it comes before %s', last + 1, turn));
	end if;
	with entries as (
		select e.* from jsonb_to_recordset(sums) as e (key text, download bigint, upload bigint, session uuid, generation bigint)
	), kept as (
		insert into vpn_usage (server_id, sequence, public_key, session_id, user_id, from_at, to_at, download, upload)
		select it, turn, e.key, s.id, s.user_id, since, until, e.download, e.upload
		from entries e left join vpn_sessions s on s.id = e.session
	), placed as (
		update vpn_placements p set download = p.download + e.download, upload = p.upload + e.upload
		from entries e where p.session_id = e.session and p.generation = e.generation
	)
	update vpn_sessions s set download = s.download + e.download, upload = s.upload + e.upload
	from (select x.session, sum(x.download) as download, sum(x.upload) as upload from entries x group by x.session) e
	where s.id = e.session;
	return jsonb_build_object('sequence', turn);
end $$;
-- +goose StatementEnd

-- Forgets what is older than so many days: sessions that have ended, with their placements; usage; events. What a server has still to
-- release stays, unless the server has been gone for as long. Returns how many rows went.
-- +goose StatementBegin
create function waylume_prune(days integer default 30) returns bigint
language plpgsql security definer set search_path = pg_catalog, public, pg_temp as $$
declare
	horizon timestamptz := clock_timestamp() - make_interval(days => days);
	one bigint;
	total bigint := 0;
begin
	if days is null or days < 1 then
		perform waylume__refuse('WL001', 'days: is at least 1');
	end if;
	delete from vpn_sessions s
	where s.state = 'ended' and s.ended_at < horizon and not exists (
		select from vpn_placements p join waylume_servers o on o.id = p.server_id
		where p.session_id = s.id and p.release_sequence > o.released_sequence
			and coalesce(o.heartbeat_at, o.deregistered_at) >= horizon);
	get diagnostics one = row_count;
	total := total + one;
	delete from vpn_usage u where u.to_at < horizon;
	get diagnostics one = row_count;
	total := total + one;
	delete from node_events e where e.at < horizon;
	get diagnostics one = row_count;
	return total + one;
end $$;
-- +goose StatementEnd
