-- +goose Up

-- The fleet: its servers, the sessions that are placed on them, what they used, and what happened. Programs change these tables
-- through the functions of the migrations that follow, and through nothing else.

create table waylume_servers (
	id uuid primary key default gen_random_uuid(),
	name text not null unique check (name ~ '^[A-Za-z0-9._-]{1,64}$'),
	public_key text not null, -- base64, as wg(8) writes it
	endpoint_v4 text, -- ADDRESS:PORT
	endpoint_v6 text, -- [ADDRESS]:PORT
	api_url text not null default '',
	audience text not null default '',
	region text not null default '',
	country text not null default '',
	city text not null default '',
	latitude double precision check (latitude between -90 and 90),
	longitude double precision check (longitude between -180 and 180),
	pool text not null default 'default' check (pool <> ''),
	capacity_peers integer not null default 0 check (capacity_peers >= 0), -- 0: as many as come
	capacity_rate bigint not null default 0 check (capacity_rate >= 0), -- bit/s; 0: unknown
	version text not null default '',
	features text[] not null default '{}',
	-- What the last heartbeat said.
	peers integer not null default 0,
	connected integer not null default 0,
	health text not null default 'healthy' check (health in ('healthy', 'degraded', 'failing')),
	reasons text[] not null default '{}',
	load double precision not null default 0, -- the score: 1 is full
	measured jsonb, -- the whole load; null: the node has said nothing of it
	scaling text not null default 'steady' check (scaling in ('steady', 'scale_out', 'scale_in')),
	node_draining boolean not null default false, -- the node wants it
	fleet_draining boolean not null default false, -- whoever runs the fleet wants it
	assigned integer not null default 0 check (assigned >= 0), -- sessions that have not ended and are placed here
	incarnation bigint not null default 1,
	heartbeat_sequence bigint not null default 0, -- of the last heartbeat in this incarnation
	release_sequence bigint not null default 0, -- of the last release that there is
	told_sequence bigint not null default 0, -- of the last release that the node has been told of
	released_sequence bigint not null default 0, -- of the last release that the node has carried out
	usage_sequence bigint not null default 0, -- of the last usage report that was taken
	registered_at timestamptz not null default now(),
	heartbeat_at timestamptz, -- null: deregistered
	deregistered_at timestamptz,
	check ((latitude is null) = (longitude is null)),
	check (endpoint_v4 is not null or endpoint_v6 is not null)
) with (fillfactor = 50); -- heartbeats rewrite rows: room on the page keeps them off the indices

create table vpn_sessions (
	id uuid primary key default gen_random_uuid(),
	user_id text not null,
	idempotency_key text not null,
	public_key text not null,
	query jsonb not null,
	peer jsonb,
	state text not null default 'placing' check (state in ('placing', 'active', 'ended')),
	server_id uuid not null references waylume_servers (id),
	generation bigint not null default 1,
	addresses text[] not null default '{}',
	download bigint not null default 0, -- bytes
	upload bigint not null default 0,
	created_at timestamptz not null default now(),
	placed_at timestamptz not null default now(),
	confirmed_at timestamptz,
	expires_at timestamptz,
	ended_at timestamptz,
	end_reason text,
	unique (user_id, idempotency_key)
);

create unique index vpn_sessions_public_key on vpn_sessions (public_key) where state <> 'ended';
create index vpn_sessions_server on vpn_sessions (server_id) where state <> 'ended';
create index vpn_sessions_placing on vpn_sessions (placed_at) where state = 'placing';
create index vpn_sessions_expiring on vpn_sessions (expires_at) where state <> 'ended';
create index vpn_sessions_ended on vpn_sessions (ended_at) where state = 'ended';

-- Every placement that a session has had. One that has been released is the release, which the server is told of until it says that
-- it has carried it out.
create table vpn_placements (
	session_id uuid not null references vpn_sessions (id) on delete cascade,
	generation bigint not null,
	server_id uuid not null references waylume_servers (id),
	public_key text not null,
	placed_at timestamptz not null default now(),
	released_at timestamptz,
	release_sequence bigint,
	download bigint not null default 0,
	upload bigint not null default 0,
	primary key (session_id, generation)
);

create unique index vpn_placements_release on vpn_placements (server_id, release_sequence) where release_sequence is not null;
create index vpn_placements_key on vpn_placements (server_id, public_key, placed_at);

-- What servers have reported, as it was: one row for each key of a report. Without a session: the key is none's that was placed there.
create table vpn_usage (
	server_id uuid not null references waylume_servers (id),
	sequence bigint not null,
	public_key text not null,
	session_id uuid references vpn_sessions (id) on delete set null,
	user_id text,
	from_at timestamptz not null,
	to_at timestamptz not null,
	download bigint not null,
	upload bigint not null,
	primary key (server_id, sequence, public_key)
);

create index vpn_usage_user on vpn_usage (user_id, to_at);
create index vpn_usage_session on vpn_usage (session_id);

create table node_events (
	id bigint generated always as identity primary key,
	at timestamptz not null default now(),
	server_id uuid references waylume_servers (id) on delete cascade,
	kind text not null, -- registered, deregistered, draining, undraining, health, scaling, stale, session_moved
	detail jsonb not null default '{}'
);

create index node_events_server on node_events (server_id, kind, at);
create index node_events_at on node_events (at);

-- Closed for everybody but their owner, until a policy opens them.
alter table waylume_servers enable row level security;
alter table vpn_sessions enable row level security;
alter table vpn_placements enable row level security;
alter table vpn_usage enable row level security;
alter table node_events enable row level security;
