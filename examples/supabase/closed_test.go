package supabase_test

import (
	"bytes"
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"
)

// What is signed for another node never goes to this one: it can name neither that one's audience nor leave its own name out to do so.
func TestANodeHasNoAudienceButItsName(t *testing.T) {
	f := newFleet(t)
	n := f.enrolled("fra-1")
	f.enrolled("fra-2")
	thief := f.node("fra-3")
	for _, edit := range []func(map[string]any){
		func(r map[string]any) { delete(r, "name") },
		func(r map[string]any) { r["name"] = nil },
		func(r map[string]any) { r["name"] = "" },
		func(r map[string]any) { r["name"] = "fra-2" },
	} {
		for _, who := range []*node{n, thief} {
			name := who.registration["name"]
			edit(who.registration)
			who.registration["audience"] = "fra-2"
			if who == n {
				f.refused(f.ask(n.signed("/node-heartbeat/register", n.registration)), http.StatusForbidden, "denied")
			} else {
				f.refused(thief.enroll(f.token("fra-3")), http.StatusForbidden, "denied")
			}
			delete(who.registration, "audience")
			who.registration["name"] = name
		}
	}
	require.Equal(t, "fra-1 fra-2", value[string](f, "select string_agg(audience, ' ' order by audience) from waylume_servers"))
}

// A rotation that meets a revocation leaves no credential: neither the one that was revoked nor its successor.
func TestWhatWasRevokedIsNotRotated(t *testing.T) {
	f := newFleet(t)
	n := f.enrolled("fra-1")
	rotate, key := "select fleet_rotate($1, $2)", bytes.Repeat([]byte{1}, 32)

	// The rotation is first, and not at its end.
	tx, err := f.db.Begin(t.Context())
	require.NoError(t, err)
	defer func() { _ = tx.Rollback(context.WithoutCancel(t.Context())) }()
	_, err = tx.Exec(t.Context(), rotate, n.credential, key)
	require.NoError(t, err)
	revoked := make(chan error, 1)
	go func() {
		_, err := f.db.Exec(t.Context(), "select fleet_revoke_server($1)", n.server)
		revoked <- err
	}()
	require.Eventually(t, func() bool {
		return value[bool](f, `select exists (select from pg_stat_activity where query like 'select fleet_revoke_server%'
			and wait_event_type = 'Lock' and datname = current_database())`)
	}, 10*time.Second, 10*time.Millisecond)
	require.NoError(t, tx.Commit(t.Context()))
	require.NoError(t, <-revoked)
	states := "select string_agg(state, ', ') from fleet_credentials_list()"
	require.Equal(t, "revoked, revoked", value[string](f, states))

	// The revocation is first: the rotation's token was looked at before.
	_, err = f.db.Exec(t.Context(), rotate, n.credential, bytes.Repeat([]byte{2}, 32))
	var refused *pgconn.PgError
	require.ErrorAs(t, err, &refused)
	require.Equal(t, "WL005", refused.Code)
	_, err = f.db.Exec(t.Context(), "select fleet_register($1, '{}')", n.credential)
	require.ErrorAs(t, err, &refused)
	require.Equal(t, "WL005", refused.Code)
	require.Equal(t, "revoked, revoked", value[string](f, states))
}

// Whoever has no token costs the database no more than a look at one.
func TestAnEnrollmentIsSmall(t *testing.T) {
	f := newFleet(t)
	n := f.node("fra-1")
	n.registration["features"] = []string{strings.Repeat("x", 64<<10)}
	f.refused(n.enroll(f.token("")), http.StatusRequestEntityTooLarge, "invalid")
}

// What the roles of a project's clients may do with all that the migrations have made: the defaults of Supabase give them everything.
func TestWhatClientsMayDo(t *testing.T) {
	f := newFleet(t)
	for role, wanted := range map[string]string{
		"anon":          "plans:r vpn_month vpn_serves",
		"authenticated": "plans:r subscriptions:r vpn_month vpn_period_usage:r vpn_serves vpn_sessions:r",
	} {
		got := value[string](f, `select string_agg(what, ' ' order by what collate "C") from (
			select p.proname::text as what from pg_proc p
			where p.pronamespace = 'public'::regnamespace and has_function_privilege($1, p.oid, 'execute')
				and not exists (select from pg_depend d where d.objid = p.oid and d.deptype = 'e')
			union all
			select c.relname || ':' || string_agg(left(replace(r, 'select', 'r'), 1), '' order by r) from pg_class c,
				unnest(array['select', 'insert', 'update', 'delete', 'truncate', 'references', 'trigger']) r
			where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p', 'v', 'm', 'f') and has_table_privilege($1, c.oid, r)
			group by c.relname
			union all
			select c.relname || ':sequence' from pg_class c where c.relnamespace = 'public'::regnamespace
				and case when c.relkind = 'S' then has_sequence_privilege($1, c.oid, 'usage, select, update') end
		) x`, role)
		require.Equal(t, wanted, got, role)
	}
	require.Empty(t, value[string](f, `select coalesce(string_agg(c.relname, ' '), '') from pg_class c
		where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') and not c.relrowsecurity`), "tables without row level security")
	require.Empty(t, value[string](f, `select coalesce(string_agg(p.proname, ' '), '') from pg_proc p
		where p.pronamespace = 'public'::regnamespace and p.prosecdef and not exists (
			select from unnest(p.proconfig) s where s like 'search_path=%')`), "functions with their owner's rights and any search_path")
}
