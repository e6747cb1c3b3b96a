-- +goose Up

-- What the node of a session was told, and what it should have been.

create table vpn_limits (
	session_id uuid primary key references vpn_sessions (id) on delete cascade,
	generation bigint not null,
	-- What the placement had been reported to have used when the node last made the peer, which counts from nothing.
	base bigint not null default 0,
	-- As the node has them, if that is known; null: none. "cap" is a value of the peer's own counter, in bytes. Of those who tell
	-- the node at once, only the last writes down what it told.
	known boolean not null default false,
	attempt bigint not null default 0,
	download bigint,
	upload bigint,
	cap bigint,
	-- The client's configuration, but for what it keeps to itself.
	config jsonb not null
);
alter table vpn_limits enable row level security;

-- For going through all of them in parts.
create index vpn_sessions_live on vpn_sessions (id) where state <> 'ended';

-- Live sessions and the limits that they should have. The cap is what the node has counted for the peer, as far as is known here, and
-- what is left for the user, so what was used elsewhere is not in it. A cap of 1 byte lets no packet pass, where 0 would be none.
create view vpn_wanted with (security_invoker = true) as
select
	s.id as session_id, s.user_id, s.public_key, s.server_id, s.generation, s.state, a.plan is not null as served,
	coalesce(coalesce(s.query ->> 'pool', 'default') = any (a.pools), false)
		and (
			select count(*) from vpn_sessions o
			where o.user_id = s.user_id and o.state <> 'ended' and (o.created_at, o.id) <= (s.created_at, s.id)
		) <= a.max_sessions as allowed,
	a.download, a.upload, a.left_over,
	case when a.cap is not null then greatest(1, a.left_over + coalesce(p.download + p.upload, 0) - coalesce(l.base, 0)) end as cap,
	coalesce(p.download + p.upload, 0) as reported,
	coalesce(l.known, false) and row(l.generation, l.download, l.upload, l.cap) is not distinct from row(
		s.generation, a.download, a.upload,
		case when a.cap is not null then greatest(1, a.left_over + coalesce(p.download + p.upload, 0) - coalesce(l.base, 0)) end
	) as told
from vpn_sessions s
left join vpn_placements p on p.session_id = s.id and p.generation = s.generation
left join vpn_limits l on l.session_id = s.id and l.generation = s.generation
left join lateral vpn_allowance(s.user_id) a on true
where s.state <> 'ended';

-- Everyone sees the plans; a user sees what is their own. The roles are Supabase's, and elsewhere not there.
-- +goose StatementBegin
do $$
declare
	own text := $own$user_id = (select nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub')$own$;
	name text;
begin
	revoke all on function vpn_plan, vpn_allowance, vpn_recount, vpn_count_usage from public;
	foreach name in array array['anon', 'authenticated'] loop
		if exists (select from pg_roles where rolname = name) then
			execute format('revoke all on plans, stripe_customers, subscriptions, stripe_events, vpn_period_usage, vpn_limits, vpn_wanted
				from %I', name);
			execute format('revoke all on function vpn_plan, vpn_allowance, vpn_recount, vpn_count_usage from %I', name);
			execute format('grant select on plans to %I', name);
			execute format('create policy %I on plans for select to %I using (true)', 'plans_' || name, name);
		end if;
	end loop;
	if exists (select from pg_roles where rolname = 'authenticated') then
		execute 'grant select on subscriptions, vpn_period_usage to authenticated';
		execute format('create policy subscriptions_own on subscriptions for select to authenticated using (%s)', own);
		execute format('create policy vpn_period_usage_own on vpn_period_usage for select to authenticated using (%s)', own);
	end if;
end $$;
-- +goose StatementEnd
