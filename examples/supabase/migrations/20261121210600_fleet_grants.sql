-- +goose Up

-- Who may do what. The roles of Supabase (anon, authenticated, service_role) are regarded where they exist. Two of the fleet's own are
-- made where that is allowed: waylume_node may execute what a node needs, waylume_control what a control plane needs.
-- Whoever makes these roles later runs "select waylume_grants()" as the owner of the tables afterwards. It may be run at any time.

-- +goose StatementBegin
create function waylume_grants() returns void
language plpgsql set search_path = pg_catalog, public, pg_temp set client_min_messages = warning as $$
declare
	f record;
	t text;
	r text;
	nodes text[] := array['waylume_register', 'waylume_heartbeat', 'waylume_drain', 'waylume_deregister', 'waylume_report_usage'];
	controls text[] := array['waylume_server', 'waylume_servers_list', 'waylume_select', 'waylume_set_draining', 'waylume_session_begin',
		'waylume_session_confirm', 'waylume_session_move', 'waylume_session_end', 'waylume_session', 'waylume_sessions_stranded',
		'waylume_prune'];
	roles text[] := array(select rolname from pg_roles
		where rolname in ('anon', 'authenticated', 'service_role', 'waylume_node', 'waylume_control'));
begin
	foreach t in array array['waylume_servers', 'vpn_sessions', 'vpn_placements', 'vpn_usage', 'node_events', 'waylume_migrations'] loop
		continue when to_regclass('public.' || t) is null;
		execute format('alter table public.%I enable row level security', t);
		execute format('revoke all on public.%I from public', t);
		foreach r in array roles loop
			execute format('revoke all on public.%I from %I', t, r);
		end loop;
		continue when t = 'waylume_migrations';
		foreach r in array array['service_role', 'waylume_control'] loop
			execute format('drop policy if exists %I on public.%I', t || '_' || r, t);
			continue when r <> all (roles);
			execute format('create policy %I on public.%I for select to %I using (true)', t || '_' || r, t, r);
			execute format('grant select on public.%I to %I', t, r);
		end loop;
	end loop;
	foreach r in array array['public'] || roles loop
		execute format('revoke all on sequence public.node_events_id_seq from %s', case r when 'public' then r else quote_ident(r) end);
	end loop;
	-- A user of Supabase reads the sessions that are its own.
	drop policy if exists vpn_sessions_own on public.vpn_sessions;
	if 'authenticated' = any (roles) then
		create policy vpn_sessions_own on public.vpn_sessions for select to authenticated
			using (user_id = (select nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub'));
		grant select on public.vpn_sessions to authenticated;
	end if;
	for f in
		select p.oid::regprocedure as signature, p.proname as name from pg_proc p
		where p.pronamespace = 'public'::regnamespace and p.proname like 'waylume\_%'
			and not exists (select from pg_depend d where d.objid = p.oid and d.deptype = 'e')
	loop
		execute format('revoke all on function %s from public', f.signature);
		foreach r in array roles loop
			execute format('revoke all on function %s from %I', f.signature, r);
			if f.name = any (nodes) and r in ('waylume_node', 'service_role')
				or f.name = any (controls) and r in ('waylume_control', 'service_role') then
				execute format('grant execute on function %s to %I', f.signature, r);
			end if;
		end loop;
	end loop;
end $$;
-- +goose StatementEnd

-- +goose StatementBegin
do $$
declare
	r text;
begin
	foreach r in array array['waylume_node', 'waylume_control'] loop
		continue when exists (select from pg_roles where rolname = r);
		begin
			execute format('create role %I nologin', r);
		exception
			when insufficient_privilege then
				raise warning 'role % is not made, since that is not allowed: make it, and run select waylume_grants()', r;
			when duplicate_object or unique_violation then
				null; -- another database's migration was faster: roles are the cluster's
		end;
	end loop;
	perform waylume_grants();
end $$;
-- +goose StatementEnd
