package nodes_test

import (
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/registry"
	"github.com/waylume/waylume/registry/memory"
	"github.com/waylume/waylume/registry/placement"
	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/fleet"
	"github.com/waylume/waylume/wgnode/fleet/nodes"
	"github.com/waylume/waylume/wgnode/httpapi"
	"github.com/waylume/waylume/wgnode/httpapi/auth"
	"github.com/waylume/waylume/wgnode/httpapi/auth/sign"
	"github.com/waylume/waylume/wgnode/httpapi/client"
	"github.com/waylume/waylume/wgnode/httpapi/idempotency"
	api "github.com/waylume/waylume/wgnode/httpapi/v1"
	"github.com/waylume/waylume/wgnode/wgnodetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// host is a node as a fleet has it: behind TLS, signed requests, idempotency keys and a fence.
type host struct {
	node   *wgnode.Node
	server registry.Server
	tls    *tls.Config
	asked  atomic.Int64
	lose   atomic.Int64 // so many answers, of requests that are carried out
	key    sign.Key
}

func newHost(t *testing.T, edit ...func(*wgnode.Config)) *host {
	t.Helper()
	public, private, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	der, err := x509.MarshalPKIXPublicKey(public)
	require.NoError(t, err)
	h := &host{}
	h.key, err = sign.Ed25519("control-1", private)
	require.NoError(t, err)
	fence, err := fleet.OpenFence(fleet.FenceConfig{File: filepath.Join(t.TempDir(), "released.json")})
	require.NoError(t, err)
	cfg := wgnode.Config{Dataplane: wgnodetest.NewDataplane(), Endpoint: "192.0.2.1:51820", Store: wgnode.NewMemoryStore(), Admit: fence.Admit}
	for _, e := range edit {
		e(&cfg)
	}
	h.node, err = wgnode.New(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, h.node.Close()) })
	require.NoError(t, h.node.Start(t.Context()))
	known, err := memory.New(memory.Config{})
	require.NoError(t, err)
	_, err = fleet.New(fleet.Config{ // which has the fence guard the node
		Node: h.node, Fence: fence, Registry: known, StateFile: filepath.Join(t.TempDir(), "member.json"),
		Registration: registry.Registration{Name: "fra-1", EndpointV4: netip.MustParseAddrPort("192.0.2.1:51820")},
	})
	require.NoError(t, err)
	served, err := httpapi.New(httpapi.Config{Node: h.node})
	require.NoError(t, err)
	keys, err := idempotency.New(t.Context(), idempotency.Config{Store: idempotency.NewMemoryStore()})
	require.NoError(t, err)
	who, err := auth.New(auth.Config{UsedTokens: filepath.Join(t.TempDir(), "used"), Trust: auth.Trust{
		Audience: "fra-1", Keys: []auth.KeySource{{
			Type: auth.PEM, ID: "control-1", PublicKey: pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), Scopes: auth.Scopes(),
		}},
	}})
	require.NoError(t, err)
	who.Start()
	t.Cleanup(func() { require.NoError(t, who.Close()) })
	handler := who.Middleware(keys.Middleware(served))
	listening := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.asked.Add(1)
		if h.lose.Add(-1) >= 0 {
			handler.ServeHTTP(httptest.NewRecorder(), r)
			panic(http.ErrAbortHandler)
		}
		handler.ServeHTTP(w, r)
	}))
	t.Cleanup(listening.Close)
	h.tls = listening.Client().Transport.(*http.Transport).TLSClientConfig
	h.server = registry.Server{ID: "1", Registration: registry.Registration{Name: "fra-1", APIURL: listening.URL}}
	return h
}

func (h *host) nodes(t *testing.T, edit ...func(*nodes.Config)) *nodes.Nodes {
	t.Helper()
	cfg := nodes.Config{Key: h.key, Subject: "control-plane", TLS: h.tls}
	for _, e := range edit {
		e(&cfg)
	}
	n, err := nodes.New(cfg)
	require.NoError(t, err)
	t.Cleanup(n.Close)
	return n
}

func session(t *testing.T, peer string, addresses ...string) registry.Session {
	t.Helper()
	key, err := wgtypes.GeneratePrivateKey()
	require.NoError(t, err)
	s := registry.Session{ID: registry.SessionID(uuid.NewString()), Generation: 3, PublicKey: registry.Key(key.PublicKey())}
	if peer != "" {
		s.Peer = json.RawMessage(peer)
	}
	for _, a := range addresses {
		s.Addresses = append(s.Addresses, netip.MustParseAddr(a))
	}
	return s
}

// TestCreate has a node make the peer that a session asks for, once, however often it is asked.
func TestCreate(t *testing.T) {
	h := newHost(t)
	n := h.nodes(t)
	const wanted = `{"name":"phone","labels":{"plan":"gold","waylume.session":"forged"},"speed_limit":{"download":"20mbit"}}`
	s := session(t, wanted, "10.0.0.9", "fd77:6179:6c75:6d65::9")
	made, err := n.Create(t.Context(), h.server, s)
	require.NoError(t, err)
	require.Equal(t, s.Addresses, made.Addresses)
	var answer api.CreatedPeer
	require.NoError(t, json.Unmarshal(made.Answer, &answer))
	require.Contains(t, answer.Config, "192.0.2.1:51820")
	peer, err := h.node.Peer(wgtypes.Key(s.PublicKey))
	require.NoError(t, err)
	require.Equal(t, map[string]string{"plan": "gold", registry.SessionLabel: string(s.ID), registry.GenerationLabel: "3"}, peer.Labels)
	require.Equal(t, "phone", peer.Name)
	require.EqualValues(t, 20_000_000, peer.SpeedLimit.Download)
	again, err := n.Create(t.Context(), h.server, s)
	require.NoError(t, err)
	require.Equal(t, made, again)
	require.JSONEq(t, wanted, string(s.Peer))
}

// TestAnswerIsLost sends a request again, signed anew, and gives up after as many as are allowed.
func TestAnswerIsLost(t *testing.T) {
	h := newHost(t)
	s := session(t, "")
	h.lose.Store(1)
	made, err := h.nodes(t).Create(t.Context(), h.server, s)
	require.NoError(t, err)
	require.Len(t, made.Addresses, 2)
	require.EqualValues(t, 2, h.asked.Load())
	h.lose.Store(3)
	_, err = h.nodes(t, func(c *nodes.Config) { c.Attempts = 3 }).Create(t.Context(), h.server, s)
	require.ErrorIs(t, err, client.ErrUnreachable)
	require.EqualValues(t, 5, h.asked.Load())
	again, err := h.nodes(t).Create(t.Context(), h.server, s)
	require.NoError(t, err)
	require.Equal(t, made.Addresses, again.Addresses)
}

// TestAddresses: those that a node cannot give are told from what no node would take, and are asked for no more.
func TestAddresses(t *testing.T) {
	h := newHost(t)
	n := h.nodes(t)
	_, err := h.node.AddPeer(t.Context(), wgnode.PeerSpec{Addrs: []netip.Addr{netip.MustParseAddr("10.0.0.9")}})
	require.NoError(t, err)
	for name, address := range map[string]string{"taken": "10.0.0.9", "never leased": "10.0.0.0", "of no pool": "192.168.0.1"} {
		s := session(t, "", address)
		for range 2 {
			_, err := n.Create(t.Context(), h.server, s)
			require.ErrorIs(t, err, placement.ErrAddresses, name)
			require.NotErrorIs(t, err, placement.ErrPeer, name)
		}
		s.Addresses = nil
		made, err := n.Create(t.Context(), h.server, s)
		require.NoError(t, err, name)
		require.NotEmpty(t, made.Addresses)
		require.NoError(t, h.node.RemovePeer(t.Context(), wgtypes.Key(s.PublicKey)))
	}
	s := session(t, `{"addresses":["10.0.0.9"]}`)
	made, err := n.Create(t.Context(), h.server, s)
	require.NoError(t, err, "what the session would like is no more than that")
	again, err := n.Create(t.Context(), h.server, s)
	require.NoError(t, err)
	require.Equal(t, made, again)
	s = session(t, `{"addresses":["10.0.0.77"]}`)
	made, err = n.Create(t.Context(), h.server, s)
	require.NoError(t, err)
	require.Contains(t, made.Addresses, netip.MustParseAddr("10.0.0.77"))
}

// TestRefusals are told apart: what no node takes, what this one does not, and what was overtaken.
func TestRefusals(t *testing.T) {
	h := newHost(t)
	n := h.nodes(t)
	for name, peer := range map[string]string{
		"no JSON": `{`, "not of the API": `{"nick":"x"}`, "two": `{}{}`, "of another kind": `[]`,
		"too long":           `{"name":"` + strings.Repeat("x", 129) + `"}`,
		"in the past":        `{"expires_at":"2020-01-01T00:00:00Z"}`,
		"that and addresses": `{"expires_at":"2020-01-01T00:00:00Z","addresses":["192.168.0.1"]}`,
	} {
		_, err := n.Create(t.Context(), h.server, session(t, peer))
		require.ErrorIs(t, err, placement.ErrPeer, name)
		require.NotErrorIs(t, err, placement.ErrAddresses, name)
	}
	other := func(err error, is error) {
		t.Helper()
		require.ErrorIs(t, err, is)
		require.NotErrorIs(t, err, placement.ErrPeer)
		require.NotErrorIs(t, err, placement.ErrAddresses)
	}
	_, err := n.Create(t.Context(), h.server, session(t, `{"account":"acme"}`))
	other(err, client.ErrInvalid)

	s := session(t, "")
	_, err = n.Create(t.Context(), h.server, s)
	require.NoError(t, err)
	older := s
	older.Generation--
	_, err = n.Create(t.Context(), h.server, older)
	other(err, client.ErrConflict)
	newer := s
	newer.Generation++
	_, err = n.Create(t.Context(), h.server, newer)
	require.NoError(t, err)
	peer, err := h.node.Peer(wgtypes.Key(s.PublicKey))
	require.NoError(t, err)
	require.Equal(t, strconv.FormatInt(newer.Generation, 10), peer.Labels[registry.GenerationLabel])
}

// TestWhoIsAsked: requests are for the one node, over the way that is trusted.
func TestWhoIsAsked(t *testing.T) {
	h := newHost(t)
	n := h.nodes(t)
	s := session(t, "")
	elsewhere := h.server
	elsewhere.Audience = "ams-1"
	_, err := n.Create(t.Context(), elsewhere, s)
	require.ErrorIs(t, err, client.ErrUnauthenticated)
	elsewhere.Name, elsewhere.Audience = "ams-1", "fra-1"
	_, err = n.Create(t.Context(), elsewhere, s)
	require.NoError(t, err, "the audience counts, where there is one")
	_, err = h.nodes(t, func(c *nodes.Config) { c.TLS = nil }).Create(t.Context(), h.server, s)
	require.ErrorAs(t, err, new(*tls.CertificateVerificationError))
	none := h.server
	none.APIURL = ""
	_, err = n.Create(t.Context(), none, s)
	require.ErrorContains(t, err, "no API")
}

// TestAfterASleep signs nothing more when the clock has gone on far, or back.
func TestAfterASleep(t *testing.T) {
	h := newHost(t)
	for _, d := range []time.Duration{nodes.MaxAge + time.Second, -time.Second} {
		var calls atomic.Int64
		now := func() time.Time {
			if calls.Add(1) == 1 {
				return time.Now()
			}
			return time.Now().Add(d)
		}
		_, err := h.nodes(t, func(c *nodes.Config) { c.Now = now }).Create(t.Context(), h.server, session(t, ""))
		require.ErrorContains(t, err, "asked anew")
	}
	require.Zero(t, h.asked.Load())
}

func TestConfig(t *testing.T) {
	_, err := nodes.New(nodes.Config{Attempts: 11})
	require.ErrorIs(t, err, registry.ErrInvalid)
	for _, field := range []string{"Key", "Subject", "Attempts"} {
		require.ErrorContains(t, err, field+":")
	}
}
