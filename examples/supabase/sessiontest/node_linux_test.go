package sessiontest

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/waylume/waylume/internal/testutil/edge"
	api "github.com/waylume/waylume/wgnode/httpapi/v1"
)

// patience is how long anything may take that nobody holds up.
const patience = 60 * time.Second

// node is a server of the fleet: a process of `waylumed run` with the userspace dataplane.
type node struct {
	rig    *rig
	name   string
	dir    string
	id     string // in the fleet
	apiAt  string // HOST:PORT, where it listens
	apiURL string // where the functions ask it
	port   int    // of WireGuard
	cmd    *exec.Cmd
	log    *journal
	ended  chan struct{}
}

// journal is what a process writes.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(b)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

// place is where a node stands, for tests that have one nearer than another.
type place struct {
	latitude, longitude float64
	apiURL              string // instead of the node's own
	member              bool   // it joins the fleet by itself, instead of the test for it
}

// node starts a server that trusts the functions, and has it in the fleet.
func (r *rig) node(name string, at place) *node {
	r.t.Helper()
	n := &node{rig: r, name: name, dir: r.t.TempDir(), port: freePort(r.t, "udp"), apiAt: fmt.Sprintf("127.0.0.1:%d", freePort(r.t, "tcp"))}
	n.apiURL = "http://" + n.apiAt
	if at.apiURL != "" {
		n.apiURL = at.apiURL
	}
	der, err := x509.MarshalPKIXPublicKey(r.PublicKey)
	require.NoError(r.t, err)
	require.NoError(r.t, os.WriteFile(n.path("control.pem"), pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), 0o600))
	settings := map[string]any{
		"node": map[string]any{
			"name": name, "state": n.path("state"), "dataplane": "userspace", "listen_port": n.port, "endpoint": "127.0.0.1",
			"dns": []string{internet.String()},
		},
		"api": map[string]any{
			"listen": []string{"unix:" + n.path("api.sock"), n.apiAt},
			"auth": map[string]any{"keys": []any{map[string]any{
				"kid": edge.KeyID, "alg": "EdDSA", "file": n.path("control.pem"), "scopes": []string{"peers:read", "peers:write"},
			}}},
		},
	}
	if at.member {
		r.enroll(n, at, settings)
	}
	content, err := yaml.Marshal(settings)
	require.NoError(r.t, err)
	require.NoError(r.t, os.WriteFile(n.path("waylumed.yaml"), content, 0o600))
	n.start()
	if at.member {
		n.joined()
	} else {
		n.register(at)
	}
	return n
}

func (n *node) path(name string) string { return filepath.Join(n.dir, name) }

// start starts the process and waits until it is ready.
func (n *node) start() {
	t := n.rig.t
	t.Helper()
	path, err := program()
	require.NoError(t, err)
	n.log, n.ended = &journal{}, make(chan struct{})
	cmd := exec.Command(path, "run", "--config", n.path("waylumed.yaml"))
	cmd.Dir, cmd.Env = n.dir, []string{"PATH=" + os.Getenv("PATH"), "HOME=" + n.dir}
	cmd.Stdout, cmd.Stderr = n.log, n.log
	require.NoError(t, cmd.Start())
	n.cmd = cmd
	ended := n.ended
	go func() {
		_ = cmd.Wait() // how it ended, its state says
		close(ended)
	}()
	t.Cleanup(func() {
		n.kill()
		if t.Failed() {
			text := n.log.String()
			t.Logf("%s:\n%s", n.name, text[max(0, len(text)-3000):])
		}
	})
	client := n.local()
	defer client.CloseIdleConnections()
	require.Eventually(t, func() bool {
		res, err := client.Get("http://node/readyz")
		return err == nil && res.Body.Close() == nil && res.StatusCode == http.StatusOK
	}, patience, 10*time.Millisecond, n.log)
}

// kill kills the process, if it is there, and returns when it is gone.
func (n *node) kill() {
	_ = n.cmd.Process.Kill() // it may have ended
	<-n.ended
}

// register has the server in the fleet, and fresh.
func (n *node) register(at place) {
	t := n.rig.t
	t.Helper()
	info := local[api.Node](n, http.MethodGet, "/api/v1/node", nil)
	registration, err := json.Marshal(map[string]any{
		"name": n.name, "public_key": info.PublicKey, "endpoint_v4": fmt.Sprintf("127.0.0.1:%d", n.port), "api_url": n.apiURL,
		"region": "eu", "country": "DE", "city": "Frankfurt", "features": []string{"ipv6"},
		"position": map[string]any{"latitude": at.latitude, "longitude": at.longitude},
	})
	require.NoError(t, err)
	n.id = value[string](n.rig, "select waylume_register($1::text::jsonb) ->> 'server'", string(registration))
}

// silent has the fleet believe that it has not heard of the server for long.
func (n *node) silent() {
	n.rig.t.Helper()
	n.rig.exec("update waylume_servers set heartbeat_at = now() - interval '5 minutes' where id = $1", n.id)
}

// local is a client over the unix socket.
func (n *node) local() *http.Client {
	return &http.Client{Timeout: patience, Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", n.path("api.sock"))
		},
	}}
}

// local asks the node as the user that it runs as.
func local[T any](n *node, method, path string, body io.Reader) (out T) {
	t := n.rig.t
	t.Helper()
	client := n.local()
	defer client.CloseIdleConnections()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://node"+path, body)
	require.NoError(t, err)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := client.Do(req)
	require.NoError(t, err)
	content, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	require.Less(t, res.StatusCode, http.StatusBadRequest, "%s %s: %s", method, path, content)
	if len(content) > 0 {
		require.NoError(t, json.Unmarshal(content, &out), "%s", content)
	}
	return out
}

// peers are those that the node has.
func (n *node) peers() []api.Peer {
	n.rig.t.Helper()
	return local[api.PeerList](n, http.MethodGet, "/api/v1/peers", nil).Items
}

// usage is what the node has counted for a peer.
func (n *node) usage(key api.Key) api.Usage {
	n.rig.t.Helper()
	return local[api.Usage](n, http.MethodGet, "/api/v1/peers/"+key.ID()+"/usage", nil)
}

// report has the node report what it has counted for a peer since it reported last, and returns all that it has counted.
func (n *node) report(key api.Key) (bytes int64) {
	t := n.rig.t
	t.Helper()
	used := n.usage(key)
	var last int64
	var download, upload uint64
	row := n.rig.db.QueryRow(t.Context(), `select s.usage_sequence, coalesce(sum(u.download), 0)::bigint, coalesce(sum(u.upload), 0)::bigint
		from waylume_servers s left join vpn_usage u on u.server_id = s.id and u.public_key = $2 where s.id = $1 group by s.usage_sequence`,
		n.id, key.String())
	require.NoError(t, row.Scan(&last, &download, &upload))
	n.rig.reportUsage(n, last+1, key, uint64(used.Download)-download, uint64(used.Upload)-upload)
	return int64(used.Download + used.Upload)
}

func freePort(t *testing.T, network string) int {
	t.Helper()
	if network == "udp" {
		c, err := net.ListenPacket("udp", "127.0.0.1:0")
		require.NoError(t, err)
		require.NoError(t, c.Close())
		return c.LocalAddr().(*net.UDPAddr).Port
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	return l.Addr().(*net.TCPAddr).Port
}

// bearer is the header of a token.
func bearer(token string) string { return strings.TrimSpace("Bearer " + token) }
