package pgserver

import "context"

// supabase makes the roles as a Supabase project has them, and what it grants by itself: whatever is made in the schema public later
// is everybody's, until somebody takes it away.
const supabase = `
do $$
begin
	perform pg_advisory_xact_lock(hashtext('waylume supabase roles'));
	if not exists (select from pg_roles where rolname = 'anon') then
		create role anon nologin;
		create role authenticated nologin;
		create role service_role nologin bypassrls;
	end if;
end $$;
grant usage on schema public to anon, authenticated, service_role;
alter default privileges in schema public grant all on tables to anon, authenticated, service_role;
alter default privileges in schema public grant all on functions to anon, authenticated, service_role;
alter default privileges in schema public grant all on sequences to anon, authenticated, service_role;
`

// Supabase makes the roles anon, authenticated and service_role as a Supabase project has them, and in the database of the DSN the
// privileges that it grants them by default. Migrations come after it. It fits into the prepare function of [Server.Database].
//
// What PostgREST does for a request is then, in a transaction:
//
//	set local role authenticated;
//	set local request.jwt.claims = '{"sub": "..."}';
func Supabase(ctx context.Context, dsn string) error { return run(ctx, dsn, supabase) }
