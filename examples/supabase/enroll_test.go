package supabase_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// newKey gives the node another credential key, as a process that knows nothing of the first has.
func (n *node) newKey() {
	n.f.t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(n.f.t, err)
	n.key = key
}

// A token is good once, for as long as it lives.
func TestTokensThatAreNotGoodAreRefused(t *testing.T) {
	f := newFleet(t)
	refused := func(n *node, token, why string) {
		t.Helper()
		a := n.enroll(token)
		f.refused(a, http.StatusUnauthorized, "denied")
		require.Contains(t, a.body["detail"], why)
	}
	refused(f.node("fra-1"), base64.RawURLEncoding.EncodeToString(make([]byte, 32)), "not known")
	for _, token := range []string{"", "token", strings.Repeat("A", 44), strings.Repeat("A", 42) + "B", strings.Repeat("+", 43)} {
		refused(f.node("fra-1"), token, "43 characters")
	}

	used := f.token("")
	n := f.node("fra-1")
	require.Equal(t, http.StatusOK, n.enroll(used).status)
	refused(f.node("fra-2"), used, "was used")
	n.newKey()
	refused(n, used, "was used")

	expired := f.token("")
	_, err := f.db.Exec(t.Context(), "update fleet_enrollments set expires_at = now() where used_at is null")
	require.NoError(t, err)
	refused(f.node("fra-2"), expired, "expired")
	_, err = f.db.Exec(t.Context(), "update fleet_enrollments set expires_at = now()")
	require.NoError(t, err)
	refused(n, used, "expired")

	revoked := f.token("")
	require.True(t, value[bool](f, "select fleet_revoke_enrollment(id) from fleet_enrollments_list() where state = 'open'"))
	refused(f.node("fra-2"), revoked, "revoked")

	require.Equal(t, 1, value[int](f, "select count(*) from waylume_servers"))
	require.Equal(t, "expired revoked used", value[string](f, "select string_agg(state, ' ' order by state) from fleet_enrollments_list()"))
	require.Zero(t, value[int](f, "select count(*) from fleet_enrollments e where strpos(e::text, $1) > 0", used),
		"the token itself is nowhere")
}

// A request that is not one leaves the token as it was.
func TestAnEnrollmentThatIsInvalidCostsNoToken(t *testing.T) {
	f := newFleet(t)
	token := f.token("")
	n := f.node("fra-1")
	for name, edit := range map[string]func(body map[string]any){
		"no credential":           func(b map[string]any) { delete(b, "credential") },
		"a credential of text":    func(b map[string]any) { b["credential"] = "key" },
		"a key that is too short": func(b map[string]any) { b["credential"] = map[string]any{"public_key": strings.Repeat("A", 42)} },
		"a key in base64": func(b map[string]any) {
			b["credential"] = map[string]any{"public_key": base64.StdEncoding.EncodeToString(make([]byte, 32))}
		},
		"no registration":        func(b map[string]any) { delete(b, "registration") },
		"a registration in text": func(b map[string]any) { b["registration"] = "fra-1" },
		"no name":                func(b map[string]any) { b["registration"].(map[string]any)["name"] = "" },
		"a name with a space":    func(b map[string]any) { b["registration"].(map[string]any)["name"] = "fra 1" },
		"no WireGuard key":       func(b map[string]any) { delete(b["registration"].(map[string]any), "public_key") },
		"no endpoint":            func(b map[string]any) { delete(b["registration"].(map[string]any), "endpoint_v4") },
		"an audience of numbers": func(b map[string]any) { b["registration"].(map[string]any)["audience"] = 7 },
	} {
		t.Run(name, func(t *testing.T) {
			f := f.on(t)
			registration := maps.Clone(n.registration)
			body := map[string]any{
				"token": token, "credential": map[string]any{"public_key": encodedKey(n.key)}, "registration": registration,
			}
			edit(body)
			a := f.ask(f.post("/node-enroll", f.encode(body)))
			if name == "an audience of numbers" {
				f.refused(a, http.StatusForbidden, "denied")
				return
			}
			f.refused(a, http.StatusBadRequest, "invalid")
		})
	}
	require.Equal(t, "open", value[string](f, "select state from fleet_enrollments_list()"))
	require.Equal(t, http.StatusOK, n.enroll(token).status)
}

// What a token names is fixed, then and at every registration.
func TestATokenMayFixWhatANodeIs(t *testing.T) {
	f := newFleet(t)
	issue := "select token from fleet_issue_enrollment('fra-1', 'paid', 'eu-central')"
	token := value[string](f, issue)
	n := f.node("fra-1")
	for member, other := range map[string]string{"name": "fra-2", "pool": "free", "region": "eu-west", "audience": "fra-2"} {
		before := n.registration[member]
		n.registration[member] = other
		a := n.enroll(token)
		f.refused(a, http.StatusForbidden, "denied")
		require.Contains(t, a.body["detail"], member)
		n.registration[member] = before
		if before == nil {
			delete(n.registration, member)
		}
	}
	require.Equal(t, http.StatusOK, n.enroll(token).status)
	facts := "select concat_ws(' ', name, pool, region, audience) from waylume_servers"
	require.Equal(t, "fra-1 paid eu-central fra-1", value[string](f, facts))
	n.say("/node-heartbeat/register", n.registration)
	require.Equal(t, "fra-1 paid eu-central fra-1", value[string](f, facts))
	n.registration["pool"] = "free"
	f.refused(f.ask(n.signed("/node-heartbeat/register", n.registration)), http.StatusForbidden, "denied")
	n.registration["pool"], n.registration["audience"] = "paid", "fra-1"
	n.say("/node-heartbeat/register", n.registration)
	require.Equal(t, "fra-1 paid eu-central fra-1", value[string](f, facts))

	for _, bad := range []string{"name => 'a b'", "name => ''", "pool => ''", "lifetime => '0'", "lifetime => '31 days'"} {
		_, err := f.db.Exec(t.Context(), "select fleet_issue_enrollment("+bad+")")
		require.Error(t, err, bad)
	}
}

// Only a token that names a server makes a node be that one again; what that server had before counts no more.
func TestAServerIsEnrolledAgain(t *testing.T) {
	f := newFleet(t)
	first := f.enrolled("fra-1")
	first.say("/node-heartbeat", first.heartbeat(1))

	thief := f.node("fra-1")
	thief.registration["public_key"] = first.registration["public_key"]
	f.refused(thief.enroll(f.token("")), http.StatusConflict, "name-taken")
	alive := f.node("fra-1")
	f.refused(alive.enroll(f.token("fra-1")), http.StatusConflict, "name-taken")
	first.say("/node-heartbeat", first.heartbeat(2))

	_, err := f.db.Exec(t.Context(), "update waylume_servers set heartbeat_at = heartbeat_at - interval '2 minutes'")
	require.NoError(t, err)
	second := f.node("fra-1")
	second.key = first.key
	f.refused(second.enroll(f.token("fra-1")), http.StatusConflict, "conflict")
	second.newKey()
	token := f.token("fra-1")
	require.Equal(t, http.StatusOK, second.enroll(token).status)
	require.Equal(t, first.server, second.server)
	a := f.ask(first.signed("/node-heartbeat", first.heartbeat(3)))
	f.refused(a, http.StatusUnauthorized, "denied")
	require.Contains(t, a.body["detail"], "revoked")
	heartbeat := second.heartbeat(1)
	heartbeat["incarnation"] = 2
	second.say("/node-heartbeat", heartbeat)

	require.Equal(t, 1, value[int](f, "select fleet_revoke_server($1)", second.server))
	f.refused(second.enroll(token), http.StatusUnauthorized, "denied")
}

// Of those who come with one token at once, one is enrolled; so of those who want one new name.
func TestOfTwoWhoEnrollAtOnceOneIs(t *testing.T) {
	f := newFleet(t)
	together := func(name, problem string, tokens func(i int) string) {
		t.Helper()
		nodes := make([]*node, 6)
		answers := make([]answer, len(nodes))
		var wg sync.WaitGroup
		for i := range nodes {
			nodes[i] = f.node(name)
			nodes[i].registration["public_key"] = nodes[0].registration["public_key"]
		}
		for i, n := range nodes {
			token := tokens(i)
			wg.Go(func() { answers[i] = n.enroll(token) })
		}
		wg.Wait()
		count := map[string]int{}
		for _, a := range answers {
			count[a.problem()]++
		}
		require.Equal(t, map[string]int{"": 1, problem: len(nodes) - 1}, count)
		require.Equal(t, 1, value[int](f, "select count(*) from fleet_credentials where name = $1", name))
	}
	token := f.token("")
	together("fra-1", "denied", func(int) string { return token })
	tokens := make([]string, 6)
	for i := range tokens {
		tokens[i] = f.token("")
	}
	together("fra-2", "name-taken", func(i int) string { return tokens[i] })
}

// A rotation that is begun twice, or given up, leaves one credential in the end.
func TestRotation(t *testing.T) {
	f := newFleet(t)
	n := f.enrolled("fra-1")
	rotate := func(by *node, key ed25519.PrivateKey) answer {
		return f.ask(by.signed("/node-enroll/rotate", map[string]any{"credential": map[string]any{"public_key": encodedKey(key)}}))
	}
	successor := func() *node {
		next := n.on(t)
		next.newKey()
		a := rotate(n, next.key)
		require.Equal(t, http.StatusOK, a.status, a.body)
		next.credential = a.body["credential"].(string)
		require.Equal(t, next.credential, rotate(n, next.key).body["credential"], "the same again")
		return next
	}
	sequence := 0
	beat := func(n *node) answer {
		sequence++
		return f.ask(n.signed("/node-heartbeat", n.heartbeat(sequence)))
	}
	abandoned, next := successor(), successor()
	f.refused(beat(abandoned), http.StatusUnauthorized, "denied")
	f.refused(rotate(n, abandoned.key), http.StatusConflict, "conflict")
	f.refused(rotate(n, n.key), http.StatusConflict, "conflict")
	f.refused(rotate(n, f.enrolled("fra-2").key), http.StatusConflict, "conflict")
	require.Equal(t, http.StatusOK, beat(n).status, "the former one counts until then")
	require.Equal(t, "ending 24", value[string](f, `select state || ' ' || round(extract(epoch from revoked_at - now()) / 3600)
		from fleet_credentials_list() where id = $1`, n.credential))
	require.Equal(t, http.StatusOK, beat(next).status)
	f.refused(beat(n), http.StatusUnauthorized, "denied")
	require.Equal(t, http.StatusOK, beat(next).status)

	n = next
	forgotten := successor()
	_, err := f.db.Exec(t.Context(), "update fleet_credentials set revoked_at = revoked_at - interval '24 hours' where id = $1", n.credential)
	require.NoError(t, err)
	f.refused(beat(n), http.StatusUnauthorized, "denied")
	require.Equal(t, http.StatusOK, beat(forgotten).status)
}

// The memory of tokens is cleared of those that can be tried no more.
func TestUsedTokensAreForgotten(t *testing.T) {
	f := newFleet(t)
	n := f.enrolled("fra-1")
	for sequence := range 3 {
		n.say("/node-heartbeat", n.heartbeat(sequence+1))
	}
	require.Equal(t, 3, value[int](f, "select count(*) from fleet_used_tokens where expires_at > now() + interval '10 minutes'"))
	_, err := f.db.Exec(t.Context(), "update fleet_used_tokens set expires_at = now() - interval '1 second'")
	require.NoError(t, err)
	n.say("/node-heartbeat", n.heartbeat(4))
	require.Equal(t, 1, value[int](f, "select count(*) from fleet_used_tokens"))
}

// Of the tables and functions here, the roles that clients of Supabase have see nothing.
func TestRolesSeeNothing(t *testing.T) {
	f := newFleet(t)
	f.enrolled("fra-1")
	for _, role := range []string{"anon", "authenticated", "service_role", "waylume_node", "waylume_control"} {
		for _, table := range []string{"fleet_enrollments", "fleet_credentials", "fleet_used_tokens"} {
			require.False(t, value[bool](f, "select has_table_privilege($1, $2, 'select, insert, update, delete, truncate, references, trigger')",
				role, table), "%s %s", role, table)
		}
	}
	callable := `select coalesce(string_agg(p.proname, ' ' order by p.proname), '') from pg_proc p
		where p.pronamespace = 'public'::regnamespace and p.proname like 'fleet\_%' and has_function_privilege($1, p.oid, 'execute')`
	for _, role := range []string{"anon", "authenticated", "waylume_node", "waylume_control"} {
		require.Empty(t, value[string](f, callable, role), role)
	}
	require.Equal(t, "fleet_credentials_list fleet_enrollments_list fleet_issue_enrollment fleet_revoke_credential "+
		"fleet_revoke_enrollment fleet_revoke_server", value[string](f, callable, "service_role"))
	require.Zero(t, value[int](f, `select count(*) from pg_proc p where p.pronamespace = 'public'::regnamespace and p.proname like 'fleet\_%'
		and p.prosecdef and not 'search_path=pg_catalog, public, pg_temp' = any (p.proconfig)`))
}
