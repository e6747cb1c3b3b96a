package sessiontest

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/internal/testutil/edge"
	"github.com/waylume/waylume/internal/testutil/netns"
	"github.com/waylume/waylume/internal/testutil/pgserver"
	"github.com/waylume/waylume/wgnode/httpapi/auth/sign"
	api "github.com/waylume/waylume/wgnode/httpapi/v1"
)

const (
	cronSecret   = "what the schedule knows, of 32 bytes or more"
	stripeSecret = "whsec_of_the_tests"
)

// rig is a control plane, and what the test asks it with.
type rig struct {
	*edge.Functions
	t      *testing.T
	client *http.Client
	db     *pgxpool.Pool
	signer map[string]sign.Key // of nodes, by their IDs
}

func newRig(t *testing.T) *rig {
	t.Helper()
	return newRigWith(t, nil)
}

// newRigWith has the functions run with other variables, too.
func newRigWith(t *testing.T, env map[string]string) *rig {
	t.Helper()
	netns.Require(t)
	database := edge.Database(t, pgserver.Shared(t))
	pool, err := pgxpool.New(t.Context(), database)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	all := map[string]string{"WAYLUME_CRON_SECRET": cronSecret, "STRIPE_WEBHOOK_SECRET": stripeSecret}
	maps.Copy(all, env)
	functions := edge.Start(t, edge.Config{Database: database, Env: all})
	r := &rig{Functions: functions, t: t, client: functions.Client(t), db: pool, signer: map[string]sign.Key{}}
	r.exec(`insert into plans (id, name, rank, stripe_prices, download, upload, cap, max_sessions, pools, features) values
		('basic', 'Basic', 1, '{price_basic}', 8e6, 8e6, 20e6, 1, '{default}', '{}'),
		('pro', 'Pro', 2, '{price_pro,price_pro_year}', 80e6, 80e6, null, 3, '{default,premium}', '{ipv6}')`)
	r.exec("insert into plans (id, name, stripe_prices, cap, max_sessions) values ('tiny', 'Tiny', '{price_tiny}', 2e6, 2)")
	return r
}

func (r *rig) exec(sql string, args ...any) {
	r.t.Helper()
	_, err := r.db.Exec(r.t.Context(), sql, args...)
	require.NoError(r.t, err)
}

// value asks the database.
func value[T any](r *rig, sql string, args ...any) T {
	r.t.Helper()
	rows, err := r.db.Query(r.t.Context(), sql, args...)
	require.NoError(r.t, err)
	v, err := pgx.CollectExactlyOneRow(rows, pgx.RowTo[T])
	require.NoError(r.t, err)
	return v
}

// subscribed is a user of a plan.
func (r *rig) subscribed(user, plan string) *user {
	r.t.Helper()
	r.exec("insert into subscriptions (user_id, plan, status) values ($1, $2, 'active')", user, plan)
	return r.user(user)
}

// user is one with a token of an hour.
func (r *rig) user(id string) *user { return &user{rig: r, id: id, token: r.UserToken(r.t, id, nil)} }

type user struct {
	*rig
	id, token string
}

// answer is what a function has said.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// send makes a request; headers come in pairs.
func (r *rig) send(method, path string, body any, headers ...string) answer {
	r.t.Helper()
	var content []byte
	switch body := body.(type) {
	case nil:
	case []byte:
		content = body
	default:
		var err error
		content, err = json.Marshal(body)
		require.NoError(r.t, err)
	}
	req, err := http.NewRequestWithContext(r.t.Context(), method, r.URL+path, bytes.NewReader(content))
	require.NoError(r.t, err)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	return r.do(req)
}

func (r *rig) do(req *http.Request) answer {
	r.t.Helper()
	res, err := r.client.Do(req)
	require.NoError(r.t, err)
	content, err := io.ReadAll(res.Body)
	require.NoError(r.t, err)
	require.NoError(r.t, res.Body.Close())
	return answer{res.StatusCode, res.Header, content}
}

// read reads an answer that has to be a success.
func read[T any](r *rig, a answer) (out T) {
	r.t.Helper()
	require.Equal(r.t, http.StatusOK, a.status, "%s", a.body)
	require.NoError(r.t, json.Unmarshal(a.body, &out), "%s", a.body)
	return out
}

// refused requires a problem of a kind.
func (r *rig) refused(a answer, status int, word string) {
	r.t.Helper()
	var p struct{ Type, Detail string }
	require.NoError(r.t, json.Unmarshal(a.body, &p), "%s", a.body)
	require.Equal(r.t, status, a.status, "%s", a.body)
	require.Equal(r.t, "urn:waylume:fleet:"+word, p.Type, p.Detail)
	require.NotEmpty(r.t, p.Detail)
}

func (u *user) post(path string, body any) answer {
	u.t.Helper()
	return u.send(http.MethodPost, path, body, "Authorization", bearer(u.token))
}

// cleaned is what a run of session-cleanup says.
type cleaned struct {
	Moved, Ended, Stuck, Failed, Told, Pruned int
	More                                      bool
}

func (r *rig) cleanup() cleaned {
	r.t.Helper()
	return read[cleaned](r, r.send(http.MethodPost, "/session-cleanup", nil, "Authorization", bearer(cronSecret)))
}

// reportUsage has a node report, with a request that it has signed.
func (r *rig) reportUsage(n *node, sequence int64, key api.Key, download, upload uint64) {
	r.t.Helper()
	signer, ok := r.signer[n.id]
	if !ok {
		public, private, err := ed25519.GenerateKey(nil)
		require.NoError(r.t, err)
		id := value[string](r, "insert into fleet_credentials (server_id, name, public_key) values ($1, $2, $3) returning id::text",
			n.id, n.name, []byte(public))
		signer, err = sign.Ed25519(id, private)
		require.NoError(r.t, err)
		r.signer[n.id] = signer
	}
	now := time.Now().UTC()
	content, err := json.Marshal(map[string]any{
		"server": n.id, "sequence": sequence, "from": now.Add(-time.Second), "to": now,
		"usages": []any{map[string]any{"public_key": key.String(), "download": download, "upload": upload}},
	})
	require.NoError(r.t, err)
	// What is signed is the path below the base URL.
	base, _ := strings.CutSuffix(r.URL, "/functions/v1")
	req, err := http.NewRequestWithContext(r.t.Context(), http.MethodPost, base+"/usage-report", bytes.NewReader(content))
	require.NoError(r.t, err)
	req.Header.Set("Content-Type", "application/json")
	require.NoError(r.t, sign.Request(req, signer, sign.Claims{Subject: n.id, Audience: "waylume-fleet", Scopes: []string{"node"}}))
	req.URL.Path = "/functions/v1/usage-report"
	require.Equal(r.t, sequence, read[struct{ Sequence int64 }](r, r.do(req)).Sequence)
}

// internet is a host that nodes reach, and sends as much as one reads.
var internet = netip.MustParseAddr("203.0.113.2")

// online has the internet beside the nodes' host, until the test has ended.
func online(t *testing.T) {
	t.Helper()
	host := netns.New(t)
	netns.Veth(t,
		netns.End{Name: "uplink0", Addrs: []netip.Prefix{netip.MustParsePrefix("203.0.113.1/24")}},
		netns.End{Namespace: host, Name: "eth0", Addrs: []netip.Prefix{netip.PrefixFrom(internet, 24)}})
	var listener net.Listener
	host.Do(t, func() (err error) {
		listener, err = net.Listen("tcp4", netip.AddrPortFrom(internet, 80).String())
		return err
	})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = c.Close() }()
				for chunk := make([]byte, 64<<10); ; {
					if _, err := c.Write(chunk); err != nil {
						return
					}
				}
			}()
		}
	}()
	t.Cleanup(func() {
		_ = listener.Close()
		<-done
	})
}
