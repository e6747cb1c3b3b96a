-- +goose Up

-- Who may speak for a server over HTTPS: nodes are enrolled with a token that is good once, and have a credential from then on.

create table fleet_credentials (
	id uuid primary key default gen_random_uuid(),
	server_id uuid not null references waylume_servers (id) on delete cascade,
	name text not null, -- the server's: a registration with another one is refused
	pool text, -- which the enrollment fixed; null: the node says
	region text,
	public_key bytea not null unique check (octet_length(public_key) = 32), -- Ed25519
	replaces uuid references fleet_credentials (id) on delete set null, -- which is revoked when this one is used
	created_at timestamptz not null default now(),
	used_at timestamptz, -- first
	seen_at timestamptz, -- last, give or take a minute
	revoked_at timestamptz, -- may be to come
	revoke_reason text
);

create index fleet_credentials_server on fleet_credentials (server_id);
create index fleet_credentials_replaces on fleet_credentials (replaces);

create table fleet_enrollments (
	id uuid primary key default gen_random_uuid(),
	token_hash bytea not null unique check (octet_length(token_hash) = 32), -- SHA-256; the token itself is nowhere
	name text check (name ~ '^[A-Za-z0-9._-]{1,64}$'), -- null: the node says
	pool text check (pool <> ''),
	region text check (region <> ''),
	note text,
	created_at timestamptz not null default now(),
	expires_at timestamptz not null,
	revoked_at timestamptz,
	used_at timestamptz,
	credential_id uuid references fleet_credentials (id) on delete set null,
	public_key bytea, -- of the credential that it was used for
	answer jsonb
);

create index fleet_enrollments_credential on fleet_enrollments (credential_id);

-- Ids of tokens that have signed a request, for as long as they might be tried again.
create table fleet_used_tokens (
	credential_id uuid not null references fleet_credentials (id) on delete cascade,
	jti text not null check (octet_length(jti) between 16 and 128),
	expires_at timestamptz not null,
	primary key (credential_id, jti)
);

create index fleet_used_tokens_expiry on fleet_used_tokens (expires_at);

-- Closed for everybody but their owner, and no policy opens them.
alter table fleet_credentials enable row level security;
alter table fleet_enrollments enable row level security;
alter table fleet_used_tokens enable row level security;

-- For whoever runs the fleet.

-- Makes a token for one node, and returns it, this once. What it names is fixed; null is left to the node. To enroll a node anew under
-- the name that it had, the token must name it.
-- +goose StatementBegin
create function fleet_issue_enrollment(
	name text default null, pool text default null, region text default null, lifetime interval default '1 hour', note text default null
) returns table (id uuid, token text, expires_at timestamptz)
language plpgsql security definer set search_path = pg_catalog, public, pg_temp as $$
#variable_conflict use_column
declare
	-- 488 random bits of the system's, as 256.
	secret bytea := sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())
		|| uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()));
	word text := rtrim(translate(encode(secret, 'base64'), '+/', '-_'), '=');
begin
	if lifetime not between interval '1 minute' and interval '30 days' then
		raise exception using errcode = 'WL001', message = 'lifetime: may be 1 minute to 30 days';
	end if;
	return query
		insert into fleet_enrollments as e (token_hash, name, pool, region, note, expires_at)
		values (sha256(convert_to(word, 'UTF8')), fleet_issue_enrollment.name, fleet_issue_enrollment.pool, fleet_issue_enrollment.region,
			fleet_issue_enrollment.note, now() + lifetime)
		returning e.id, word, e.expires_at;
end $$;
-- +goose StatementEnd

-- Takes back a token that has not been used. A node that has used it keeps its credential. False: there is none that could be.
-- +goose StatementBegin
create function fleet_revoke_enrollment(enrollment uuid) returns boolean
language plpgsql security definer set search_path = pg_catalog, public, pg_temp as $$
begin
	update fleet_enrollments e set revoked_at = now() where e.id = enrollment and e.revoked_at is null;
	return found;
end $$;
-- +goose StatementEnd

-- Revokes a credential at once. Returns false where there is none that counts.
-- +goose StatementBegin
create function fleet_revoke_credential(credential uuid, reason text default 'revoked') returns boolean
language plpgsql security definer set search_path = pg_catalog, public, pg_temp as $$
declare
	its_server uuid;
begin
	update fleet_credentials c set revoked_at = clock_timestamp(), revoke_reason = reason
	where c.id = credential and (c.revoked_at is null or c.revoked_at > clock_timestamp())
	returning c.server_id into its_server;
	if not found then
		return false;
	end if;
	insert into node_events (server_id, kind, detail)
	values (its_server, 'credential_revoked', jsonb_build_object('credential', credential, 'reason', reason));
	return true;
end $$;
-- +goose StatementEnd

-- Revokes every credential of a server at once, and returns how many there were. A rotation that is under way ends first, and what it
-- has made is revoked with the rest.
-- +goose StatementBegin
create function fleet_revoke_server(server uuid, reason text default 'revoked') returns integer
language plpgsql security definer set search_path = pg_catalog, public, pg_temp as $$
begin
	perform from waylume_servers s where s.id = server for no key update;
	return (select count(*) filter (where fleet_revoke_credential(c.id, reason)) from fleet_credentials c where c.server_id = server);
end $$;
-- +goose StatementEnd

-- Enrollments, the newest first; no token, nor a hash of one.
-- +goose StatementBegin
create function fleet_enrollments_list() returns table (
	id uuid, state text, name text, pool text, region text, note text, created_at timestamptz, expires_at timestamptz, used_at timestamptz,
	credential uuid
)
language sql stable security definer set search_path = pg_catalog, public, pg_temp as $$
	select e.id,
		case when e.used_at is not null then 'used' when e.revoked_at is not null then 'revoked'
			when e.expires_at <= now() then 'expired' else 'open' end,
		e.name, e.pool, e.region, e.note, e.created_at, e.expires_at, e.used_at, e.credential_id
	from fleet_enrollments e order by e.created_at desc, e.id
$$;
-- +goose StatementEnd

-- Credentials, by the name of their server, the newest first.
-- +goose StatementBegin
create function fleet_credentials_list() returns table (
	id uuid, server uuid, name text, state text, created_at timestamptz, used_at timestamptz, seen_at timestamptz, revoked_at timestamptz,
	revoke_reason text
)
language sql stable security definer set search_path = pg_catalog, public, pg_temp as $$
	select c.id, c.server_id, c.name,
		case when c.revoked_at <= now() then 'revoked' when c.revoked_at is not null then 'ending' when c.used_at is null then 'new'
			else 'good' end,
		c.created_at, c.used_at, c.seen_at, c.revoked_at, c.revoke_reason
	from fleet_credentials c order by c.name collate "C", c.created_at desc, c.id
$$;
-- +goose StatementEnd

-- For the functions at the edge.

-- A registration as an enrollment lets it through: what is fixed stands in it, and its audience is its name. A node that could name
-- another one's audience would be handed requests that are signed for that one.
-- +goose StatementBegin
create function fleet__registration(registration jsonb, name text, pool text, region text) returns jsonb
language plpgsql immutable as $$
declare
	field text;
	fixed text;
	r jsonb := registration;
begin
	if jsonb_typeof(r) is distinct from 'object' then
		raise exception using errcode = 'WL001', message = 'registration: an object is wanted';
	end if;
	-- The name that counts is the one that is fixed: the body may leave it out.
	if jsonb_typeof(coalesce(r -> 'audience', '""')) <> 'string'
		or coalesce(r ->> 'audience', '') not in ('', coalesce(name, r ->> 'name', '')) then
		raise exception using errcode = 'WL005', message = 'audience: must be the name, or left out';
	end if;
	for field, fixed in values ('name', name), ('pool', pool), ('region', region) loop
		if fixed is null then
			continue;
		end if;
		if coalesce(r ->> field, '') not in ('', fixed) then
			raise exception using errcode = 'WL005', message = format('%s: must be %s, by the enrollment', field, fixed);
		end if;
		r := r || jsonb_build_object(field, fixed);
	end loop;
	return r;
end $$;
-- +goose StatementEnd

-- Enrolls the node that has a token, by the token's SHA-256: {"registered", "credential"}. The same again, while the token lives, is
-- answered the same.
-- +goose StatementBegin
create function fleet_enroll(hash bytea, key bytea, registration jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, public, pg_temp as $$
declare
	e fleet_enrollments;
	r jsonb;
	registered jsonb;
	its_server uuid;
	credential uuid := gen_random_uuid();
begin
	-- Whoever comes with the same token meanwhile waits here.
	select * into e from fleet_enrollments f where f.token_hash = hash for update;
	if not found then
		raise exception using errcode = 'WL005', message = 'the token is not known';
	elsif e.revoked_at is not null then
		raise exception using errcode = 'WL005', message = 'the token was revoked: ask for another';
	elsif e.expires_at <= clock_timestamp() then
		raise exception using errcode = 'WL005', message = 'the token has expired: ask for another';
	elsif e.used_at is not null then
		if e.public_key is distinct from key then
			raise exception using errcode = 'WL005', message = 'the token was used: ask for another';
		end if;
		perform from fleet_credentials c where c.id = e.credential_id and c.revoked_at is null;
		if not found then
			raise exception using errcode = 'WL005', message = 'the token was used, and its credential was revoked: ask for another';
		end if;
		return e.answer;
	end if;
	r := fleet__registration(registration, e.name, e.pool, e.region);
	perform from fleet_credentials c where c.public_key = key;
	if found then
		raise exception using errcode = 'WL009', message = 'the public key is another credential''s: make one for each enrollment';
	end if;
	-- Two tokens that would both make the same new name: one after the other, and the second is refused.
	perform pg_advisory_xact_lock(hashtextextended('fleet_enroll ' || coalesce(r ->> 'name', ''), 0));
	if e.name is null then
		perform from waylume_servers s where s.name = r ->> 'name';
		if found then
			raise exception using errcode = 'WL002',
				message = 'there is a server of this name: to be that one again, a node needs a token that names it';
		end if;
	end if;
	registered := waylume_register(r);
	its_server := (registered ->> 'server')::uuid;
	perform fleet_revoke_credential(c.id, 'enrolled again') from fleet_credentials c where c.server_id = its_server;
	insert into fleet_credentials (id, server_id, name, pool, region, public_key)
	values (credential, its_server, r ->> 'name', e.pool, e.region, key);
	insert into node_events (server_id, kind, detail)
	values (its_server, 'enrolled', jsonb_build_object('credential', credential, 'enrollment', e.id));
	update fleet_enrollments f set used_at = clock_timestamp(), credential_id = credential, public_key = key,
		answer = jsonb_build_object('registered', registered, 'credential', credential)
	where f.id = e.id
	returning * into e;
	return e.answer;
end $$;
-- +goose StatementEnd

-- +goose StatementBegin
create function fleet_credential(credential uuid) returns table (public_key bytea, server_id uuid, name text, revoked boolean)
language sql stable security definer set search_path = pg_catalog, public, pg_temp as $$
	select c.public_key, c.server_id, c.name, c.revoked_at is not null and c.revoked_at <= clock_timestamp()
	from fleet_credentials c where c.id = credential
$$;
-- +goose StatementEnd

-- Uses up a token of a credential, whose signature has been found good: 'ok', 'used' if it was used before, 'revoked'. The first use of
-- a credential revokes all others of its server, which it has replaced.
-- +goose StatementBegin
create function fleet_use_token(credential uuid, token text, expires timestamptz) returns text
language plpgsql security definer set search_path = pg_catalog, public, pg_temp as $$
declare
	c fleet_credentials;
begin
	select * into c from fleet_credentials f where f.id = credential and (f.revoked_at is null or f.revoked_at > clock_timestamp());
	if not found then
		return 'revoked';
	end if;
	-- Longer than the token counts by any clock that is right within minutes.
	insert into fleet_used_tokens (credential_id, jti, expires_at) values (credential, token, expires + interval '10 minutes')
	on conflict do nothing;
	if not found then
		return 'used';
	end if;
	delete from fleet_used_tokens u where (u.credential_id, u.jti) in (
		select o.credential_id, o.jti from fleet_used_tokens o where o.expires_at < clock_timestamp()
		order by o.expires_at limit 20 for update skip locked);
	if c.used_at is null then
		perform fleet_revoke_credential(f.id, 'replaced') from fleet_credentials f where f.server_id = c.server_id and f.id <> credential;
		update fleet_credentials f set used_at = clock_timestamp(), seen_at = clock_timestamp() where f.id = credential;
	elsif c.seen_at < clock_timestamp() - interval '1 minute' then
		update fleet_credentials f set seen_at = clock_timestamp() where f.id = credential;
	end if;
	return 'ok';
end $$;
-- +goose StatementEnd

-- A registration by a credential: registry.Registered. Whoever has the credential is that server, so it may come with another key at once.
-- +goose StatementBegin
create function fleet_register(credential uuid, registration jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, public, pg_temp as $$
declare
	c fleet_credentials;
	r jsonb;
begin
	select * into c from fleet_credentials f where f.id = credential and (f.revoked_at is null or f.revoked_at > clock_timestamp());
	if not found then
		raise exception using errcode = 'WL005', message = 'the credential is not known, or was revoked: the node has to be enrolled';
	end if;
	r := fleet__registration(registration, c.name, c.pool, c.region);
	perform from waylume_servers s where s.id = c.server_id and s.public_key <> r ->> 'public_key' for update;
	if found then
		perform waylume_deregister(c.server_id);
	end if;
	return waylume_register(r);
end $$;
-- +goose StatementEnd

-- The credential that is to replace one, with this key; the same key again gets the same one. The former counts until the new one is
-- used, and for 24 hours at most.
-- +goose StatementBegin
create function fleet_rotate(credential uuid, key bytea) returns uuid
language plpgsql security definer set search_path = pg_catalog, public, pg_temp as $$
declare
	c fleet_credentials;
	successor fleet_credentials;
begin
	perform from waylume_servers s join fleet_credentials f on f.server_id = s.id where f.id = credential for no key update of s;
	-- It may have been revoked since its token was looked at: what a thief has must not live on in another.
	select * into c from fleet_credentials f
	where f.id = credential and (f.revoked_at is null or f.revoked_at > clock_timestamp()) for update;
	if not found then
		raise exception using errcode = 'WL005', message = 'the credential is not known, or was revoked: the node has to be enrolled';
	end if;
	select * into successor from fleet_credentials f where f.public_key = key;
	if found then
		if successor.replaces = credential and successor.revoked_at is null then
			return successor.id;
		end if;
		raise exception using errcode = 'WL009', message = 'the public key is another credential''s: make another';
	end if;
	perform fleet_revoke_credential(f.id, 'never used') from fleet_credentials f where f.replaces = credential and f.used_at is null;
	insert into fleet_credentials (server_id, name, pool, region, public_key, replaces)
	values (c.server_id, c.name, c.pool, c.region, key, credential)
	returning * into successor;
	update fleet_credentials f set revoked_at = clock_timestamp() + interval '24 hours', revoke_reason = 'replaced' where f.id = credential;
	insert into node_events (server_id, kind, detail)
	values (c.server_id, 'credential_rotated', jsonb_build_object('from', credential, 'to', successor.id));
	return successor.id;
end $$;
-- +goose StatementEnd

-- Nobody but their owner may call these, whatever the defaults of the schema are: those of Supabase grant all functions to everybody.
-- +goose StatementBegin
do $$
declare
	f regprocedure;
	who text;
begin
	for f in select p.oid::regprocedure from pg_proc p join pg_namespace n on n.oid = p.pronamespace
		where n.nspname = current_schema() and p.proname like 'fleet\_%' loop
		execute format('revoke all on function %s from public', f);
		for who in select rolname from pg_roles where rolname in ('anon', 'authenticated', 'service_role') loop
			execute format('revoke all on function %s from %I', f, who);
		end loop;
	end loop;
	for who in select rolname from pg_roles where rolname in ('anon', 'authenticated', 'service_role') loop
		execute format('revoke all on fleet_credentials, fleet_enrollments, fleet_used_tokens from %I', who);
	end loop;
	-- Whoever runs the fleet may do so through Supabase's own API, with the service role's key, which no node has.
	if exists (select from pg_roles where rolname = 'service_role') then
		grant execute on function fleet_issue_enrollment, fleet_revoke_enrollment, fleet_revoke_credential, fleet_revoke_server,
			fleet_enrollments_list, fleet_credentials_list to service_role;
	end if;
end $$;
-- +goose StatementEnd
