package fleettest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/internal/testutil/netns"
	"github.com/waylume/waylume/registry"
	"github.com/waylume/waylume/wgnode/httpapi/client"
	api "github.com/waylume/waylume/wgnode/httpapi/v1"
)

const (
	freshness = 5 * time.Second
	apiPort   = 8443
)

// host is a machine on which waylumed runs, again and again: a network namespace, with a link to the control plane and the clients,
// and one to the internet.
type host struct {
	name      string
	dataplane string
	position  registry.Position
	netns     *netns.Namespace
	link      string     // this namespace's end of that to the control plane
	gateway   netip.Addr // the control plane's address on it
	inside    netip.Addr // the host's address on it
	outside   netip.Addr // the host's address on the internet
	dir       string
	api       *client.Client // over the unix socket

	cmd   *exec.Cmd
	log   journal
	ended chan struct{}
}

// journal is what the processes of a host write.
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

func newHost(t *testing.T, index int, name, dataplane string, position registry.Position, world *internet) *host {
	t.Helper()
	h := &host{
		name: name, dataplane: dataplane, position: position, netns: netns.New(t), link: "host" + fmt.Sprint(index), dir: t.TempDir(),
		gateway: netip.AddrFrom4([4]byte{198, 51, 100, byte(4*index + 1)}), inside: netip.AddrFrom4([4]byte{198, 51, 100, byte(4*index + 2)}),
		outside: netip.AddrFrom4([4]byte{203, 0, 113, byte(4*index + 2)}),
	}
	const bits = 30
	netns.Veth(t, netns.End{Name: h.link, Addrs: []netip.Prefix{netip.PrefixFrom(h.gateway, bits)}},
		netns.End{Namespace: h.netns, Name: "inside", Addrs: []netip.Prefix{netip.PrefixFrom(h.inside, bits)}})
	router := h.outside.Prev()
	netns.Veth(t, netns.End{Namespace: world.netns, Name: h.link, Addrs: []netip.Prefix{netip.PrefixFrom(router, bits)}},
		netns.End{Namespace: h.netns, Name: "outside", Addrs: []netip.Prefix{netip.PrefixFrom(h.outside, bits)}})
	netns.AddRoute(t, h.netns, "outside", netip.MustParsePrefix("0.0.0.0/0"), router)
	var err error
	h.api, err = client.New(client.Config{URL: "unix:" + h.path("state/api.sock")})
	require.NoError(t, err)
	t.Cleanup(h.api.Close)
	return h
}

func (h *host) path(name string) string { return filepath.Join(h.dir, name) }

// configure writes the configuration. JSON is YAML.
func (h *host) configure(t *testing.T, database string, keys []map[string]any) {
	t.Helper()
	at := netip.AddrPortFrom(h.inside, apiPort)
	data, err := json.Marshal(map[string]any{
		"node": map[string]any{
			"name": h.name, "state": h.path("state"), "dataplane": h.dataplane, "endpoint": h.inside, "pool": []string{"10.77.0.0/16"},
			"usage_log": "1m",
		},
		"api": map[string]any{
			"listen": []string{"unix:" + h.path("state/api.sock"), at.String()}, "auth": map[string]any{"keys": keys},
			"tls": map[string]any{"cert_file": h.path("cert.pem"), "key_file": h.path("key.pem")},
		},
		"fleet": map[string]any{
			"database": database, "api_url": "https://" + at.String(), "heartbeat": "1s", "usage_period": "1s", "region": "test",
			"position": fmt.Sprint(h.position.Latitude, " ", h.position.Longitude),
		},
	})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(h.path("waylumed.yaml"), data, 0o600))
}

func (h *host) command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	path, err := program()
	require.NoError(t, err)
	cmd := exec.Command(path, args...)
	cmd.Dir = h.dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + h.dir, "GOTRACEBACK=all"}
	return cmd
}

// waylumed runs a command on the host, which has to succeed.
func (h *host) waylumed(t *testing.T, args ...string) string {
	t.Helper()
	var out []byte
	cmd := h.command(t, args...)
	h.netns.Do(t, func() (err error) {
		if out, err = cmd.CombinedOutput(); err != nil {
			err = fmt.Errorf("waylumed %q: %w: %s", args, err, out)
		}
		return err
	})
	return string(out)
}

// start starts the daemon, and waits until it is ready.
func (h *host) start(t *testing.T) {
	t.Helper()
	cmd := h.command(t, "run", "--config", h.path("waylumed.yaml"))
	cmd.Stdout, cmd.Stderr = &h.log, &h.log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	h.netns.Do(t, cmd.Start)
	ended := make(chan struct{})
	h.cmd, h.ended = cmd, ended
	go func() {
		_ = cmd.Wait() // how it ended, its state says
		close(ended)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		<-ended
	})
	eventually(t, h.name+" is ready", func() bool {
		select {
		case <-ended:
			require.Failf(t, "the daemon has ended", "%s: %s", h.name, h.log.String())
		default:
		}
		health, err := h.api.Ready(t.Context())
		return err == nil && health.Status == "ok"
	})
}

// kill ends the daemon as a crash does.
func (h *host) kill(t *testing.T) {
	t.Helper()
	require.NoError(t, h.cmd.Process.Kill())
	<-h.ended
}

// stop ends the daemon in order.
func (h *host) stop(t *testing.T) {
	t.Helper()
	require.NoError(t, h.cmd.Process.Signal(syscall.SIGTERM))
	select {
	case <-h.ended:
	case <-time.After(patience):
		require.Failf(t, "the daemon has not ended", "%s: %s", h.name, h.log.String())
	}
	require.Zero(t, h.cmd.ProcessState.ExitCode(), h.log.String())
}

// has says whether the node has a peer, and of which generation.
func (h *host) has(t *testing.T, key registry.Key) (generation string, ok bool) {
	t.Helper()
	peer, _, err := h.api.Peer(t.Context(), api.Key(key))
	if errors.Is(err, client.ErrNotFound) {
		return "", false
	}
	require.NoError(t, err)
	return peer.Labels[registry.GenerationLabel], true
}
