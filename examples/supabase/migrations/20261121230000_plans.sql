-- +goose Up

-- What users may do: plans, subscriptions to them, and what was used in a period.

create table plans (
	id text primary key,
	name text not null,
	-- Where a user has several subscriptions, the plan of the highest rank counts.
	rank integer not null default 0,
	-- Prices of Stripe's that are this plan: by the month, by the year, of a former year.
	stripe_prices text[] not null default '{}',
	-- Speed of each session in bit/s, towards the client and from it; null: no limit.
	download bigint check (download > 0),
	upload bigint check (upload > 0),
	-- Inner IP bytes of all sessions together, both ways, in a month; null: no cap.
	cap bigint check (cap > 0),
	max_sessions integer not null default 1 check (max_sessions between 1 and 1000),
	-- The pools that a client may ask for: one that names none gets the first. And the features.
	pools text[] not null default '{default}' check (cardinality(pools) > 0),
	features text[] not null default '{}'
);

-- Whose a customer of Stripe's is.
create table stripe_customers (
	customer text primary key,
	user_id text not null
);

create table subscriptions (
	id uuid primary key default gen_random_uuid(),
	-- Null until Stripe has told whose it is.
	user_id text,
	plan text not null references plans (id),
	-- As Stripe has it. Those of vpn_serves() are served.
	status text not null,
	stripe_customer text,
	stripe_subscription text unique,
	-- Months are counted from its start; null: calendar months in UTC.
	period_start timestamptz,
	period_end timestamptz,
	-- When Stripe made the event that says so.
	told_at timestamptz not null default now(),
	updated_at timestamptz not null default now()
);
create index subscriptions_user on subscriptions (user_id);
create index subscriptions_customer on subscriptions (stripe_customer);

create table stripe_events (
	id text primary key,
	type text not null,
	created timestamptz not null,
	handled_at timestamptz not null default now()
);
create index stripe_events_handled on stripe_events (handled_at);

create table vpn_period_usage (
	user_id text not null,
	period_start timestamptz not null,
	download bigint not null default 0,
	upload bigint not null default 0,
	primary key (user_id, period_start)
);

-- Stripe goes on trying to be paid for a subscription that is past due, and tells when it has given up.
-- +goose StatementBegin
create function vpn_serves(status text) returns boolean
language sql immutable as
$$ select status in ('active', 'trialing', 'past_due') $$;
-- +goose StatementEnd

-- The beginning of the month that a time is in; months are those of the calendar where there is no anchor. A month that lacks the
-- anchor's day begins on its last.
-- +goose StatementBegin
create function vpn_month(anchor timestamptz, at timestamptz) returns timestamptz
language plpgsql stable set search_path = '' as $$
declare
	origin timestamp := coalesce(anchor, '2000-01-01 00:00:00+00') at time zone 'UTC';
	now_utc timestamp := at at time zone 'UTC';
	months integer := (extract(year from now_utc) - extract(year from origin)) * 12 + extract(month from now_utc) - extract(month from origin);
begin
	if origin + make_interval(months => months) > now_utc then
		months := months - 1;
	end if;
	return (origin + make_interval(months => months)) at time zone 'UTC';
end $$;
-- +goose StatementEnd

-- The plan that counts for a user, and from when their months are counted. This function and the next have no settings of their own, so
-- that they become a part of the query that calls them.
-- +goose StatementBegin
create function vpn_plan(of_user text)
returns table (
	id text, anchor timestamptz, download bigint, upload bigint, cap bigint, max_sessions integer, pools text[], features text[]
)
language sql stable as $$
	select p.id, s.period_start, p.download, p.upload, p.cap, p.max_sessions, p.pools, p.features
	from public.subscriptions s join public.plans p on p.id = s.plan
	where s.user_id = of_user and public.vpn_serves(s.status)
	order by p.rank desc, s.period_end desc nulls first, s.id
	limit 1
$$;
-- +goose StatementEnd

-- What a user may do: no row for one whom nothing is served. "left_over" is what may still be used in the month; null: no cap.
-- +goose StatementBegin
create function vpn_allowance(of_user text, at timestamptz default now())
returns table (
	plan text, download bigint, upload bigint, cap bigint, max_sessions integer, pools text[], features text[],
	period_start timestamptz, used bigint, left_over bigint
)
language sql stable as $$
	select p.id, p.download, p.upload, p.cap, p.max_sessions, p.pools, p.features, m.start, u.used, p.cap - u.used
	from public.vpn_plan(of_user) p
	cross join lateral (select public.vpn_month(p.anchor, at) as start) m
	cross join lateral (
		select coalesce(sum(v.download + v.upload), 0)::bigint as used
		from public.vpn_period_usage v where v.user_id = of_user and v.period_start = m.start
	) u
$$;
-- +goose StatementEnd

-- Each report of usage is counted for its users' months in the transaction that takes it, and so once. One that comes late counts for
-- the month in which it ended.
-- +goose StatementBegin
create function vpn_count_usage() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
	insert into public.vpn_period_usage as v (user_id, period_start, download, upload)
	select u.user_id, public.vpn_month(s.anchor, u.to_at), sum(u.download), sum(u.upload)
	from added u left join lateral public.vpn_plan(u.user_id) s on true
	where u.user_id is not null
	group by 1, 2
	order by 1, 2 -- of two reports with the same users, none waits for the other in a circle
	on conflict (user_id, period_start) do update set download = v.download + excluded.download, upload = v.upload + excluded.upload;
	return null;
end $$;
-- +goose StatementEnd
create trigger vpn_count_usage after insert on vpn_usage referencing new table as added
	for each statement execute function vpn_count_usage();

-- When a subscription's months begin anew in the middle of one, what was used since counts for the new one. The row is locked before
-- what is reported meanwhile is looked at.
-- +goose StatementBegin
create function vpn_recount(of_user text) returns void
language plpgsql set search_path = '' as $$
declare
	start timestamptz;
begin
	select a.period_start into start from public.vpn_allowance(of_user) a;
	if start is null or exists (select from public.vpn_period_usage v where v.user_id = of_user and v.period_start = start) then
		return;
	end if;
	insert into public.vpn_period_usage (user_id, period_start) values (of_user, start) on conflict do nothing;
	perform from public.vpn_period_usage v where v.user_id = of_user and v.period_start = start for update;
	update public.vpn_period_usage v set download = u.download, upload = u.upload
	from (
		select coalesce(sum(download), 0) as download, coalesce(sum(upload), 0) as upload
		from public.vpn_usage where user_id = of_user and to_at >= start
	) u
	where v.user_id = of_user and v.period_start = start;
end $$;
-- +goose StatementEnd

alter table plans enable row level security;
alter table stripe_customers enable row level security;
alter table subscriptions enable row level security;
alter table stripe_events enable row level security;
alter table vpn_period_usage enable row level security;
