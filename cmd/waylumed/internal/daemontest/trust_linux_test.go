package daemontest

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/internal/testutil/netns"
	"github.com/waylume/waylume/wgnode/httpapi/auth/sign"
	"github.com/waylume/waylume/wgnode/httpapi/problem"
	api "github.com/waylume/waylume/wgnode/httpapi/v1"
)

// TestTrust has requests that are signed as they should be taken, over TLS, and all others refused.
func TestTrust(t *testing.T) {
	s := newTrusting(t, nil)
	d := s.start(t)
	anybody := from("127.0.0.1", s.servers.trusted())
	writer := signing(anybody, s.writer, claims(readPeers, writePeers))
	made := must[api.CreatedPeer](t, writer, http.StatusCreated, http.MethodPost, s.base+peers, api.PeerSpec{Name: "ada"})
	require.Equal(t, []api.Peer{made.Peer}, allPeers(t, signing(anybody, s.reader, claims(readPeers)), s.base))
	require.Equal(t, []api.Peer{made.Peer}, allPeers(t, from("127.0.0.1", s.servers.trusted(s.clients.client(t, "billing"))), s.base))

	const body = `{"name":"eve"}`
	used := s.request(t, http.MethodPost, peers, body, s.writer, claims(writePeers))
	require.Equal(t, http.StatusCreated, send(t, anybody, used, body).status)
	for i, c := range refusals(t, s, made.ID) {
		client := from(fmt.Sprintf("127.0.1.%d", i+1), s.servers.trusted())
		p := send(t, client, c.req, c.body).problem(t, c.status, c.kind)
		require.Contains(t, p.Detail, c.detail, c.name)
	}
	again := func(client *http.Client) {
		p := send(t, client, used, body).problem(t, http.StatusUnauthorized, problem.Unauthenticated)
		require.Contains(t, p.Detail, "used before")
	}
	again(from("127.0.2.1", s.servers.trusted()))
	foreign := newCA(t, "others").client(t, "billing")
	cfg := s.servers.trusted()
	cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &foreign, nil } // though nobody asked
	_, err := ask(from("127.0.2.2", cfg), http.MethodGet, s.base+peers, nil)
	require.Error(t, err, "a certificate of no CA that is trusted")
	r, err := ask(from("127.0.2.3", nil), http.MethodGet, strings.Replace(s.base, "https", "http", 1)+peers, nil)
	require.NoError(t, err)
	require.Equal(t, http.StatusBadRequest, r.status, "no TLS")
	require.Len(t, allPeers(t, s.unix(), onSocket), 2, "ada, and the one of the token that was used twice")

	d.kill()
	d = s.start(t)
	again(from("127.0.2.4", s.servers.trusted()))
	d.stop(t)
	d = s.start(t)
	again(from("127.0.2.5", s.servers.trusted()))
	must[api.CreatedPeer](t, writer, http.StatusCreated, http.MethodPost, s.base+peers, api.PeerSpec{Name: "bob"})
	d.stop(t)
}

// refusal is a request that is to be refused.
type refusal struct {
	name   string
	req    *http.Request
	body   string
	status int
	kind   problem.Type
	detail string // part of it
}

func refusals(t *testing.T, s *trusting, id string) []refusal {
	t.Helper()
	stranger, err := sign.HMAC("reader", bytes.Repeat([]byte("x"), 32))
	require.NoError(t, err)
	unknown, err := sign.HMAC("nobody", bytes.Repeat([]byte("x"), 32))
	require.NoError(t, err)
	const body = `{"name":"eve"}`
	post := func(key sign.Key, c sign.Claims) *http.Request {
		return s.request(t, http.MethodPost, peers, body, key, c)
	}
	past, future, elsewhere := claims(writePeers), claims(writePeers), claims(writePeers)
	past.Now = func() time.Time { return time.Now().Add(-2 * time.Minute) }
	future.Now = func() time.Time { return time.Now().Add(2 * time.Minute) }
	elsewhere.Audience = "ams-1"
	plain := func(token string) *http.Request {
		req, err := http.NewRequest(http.MethodPost, s.base+peers, nil)
		require.NoError(t, err)
		req.Header.Set("Content-Type", "application/json")
		if token != "" {
			req.Header.Set("Authorization", "Bearer "+token)
		}
		return req
	}
	proxied, otherMethod := plain(bearer), post(s.writer, claims(readPeers, writePeers))
	proxied.Header.Set("X-Forwarded-For", "192.0.2.1")
	otherMethod.Method = http.MethodPut
	otherQuery, otherPath := post(s.writer, claims(writePeers)), post(s.writer, claims(writePeers))
	otherQuery.URL.RawQuery, otherPath.URL.Path = "qr=png", peers+"/"+id+"/rekey"
	const unauthorized, forbidden = http.StatusUnauthorized, http.StatusForbidden
	return []refusal{
		{"unsigned", plain(""), body, unauthorized, problem.Unauthenticated, "sign"},
		{"altered body", post(s.writer, claims(writePeers)), `{"name":"mallory"}`, unauthorized, problem.Unauthenticated, "another body"},
		{"altered query", otherQuery, body, unauthorized, problem.Unauthenticated, "another request: query"},
		{"altered path", otherPath, body, unauthorized, problem.Unauthenticated, "another request: path"},
		{"altered method", otherMethod, body, unauthorized, problem.Unauthenticated, "another request: htm"},
		{"expired", post(s.writer, past), body, unauthorized, problem.Unauthenticated, "expired"},
		{"of the future", post(s.writer, future), body, unauthorized, problem.Unauthenticated, "of the future"},
		{"for another node", post(s.writer, elsewhere), body, unauthorized, problem.Unauthenticated, "this node is"},
		{"of a scope that the key has not", post(s.reader, claims(writePeers)), body, forbidden, problem.Forbidden, readPeers},
		{"of too few scopes", post(s.writer, claims(readPeers)), body, forbidden, problem.Forbidden, writePeers},
		{"of another secret", post(stranger, claims(readPeers)), body, unauthorized, problem.Unauthenticated, "signature"},
		{"of no key", post(unknown, claims(readPeers)), body, unauthorized, problem.Unauthenticated, "kid"},
		{"wrong plain token", plain(bearer + "x"), body, unauthorized, problem.Unauthenticated, "nobody has this token"},
		{"plain token through a proxy", proxied, body, unauthorized, problem.Unauthenticated, "came through a proxy"},
		{"plain token of too few scopes", plain(bearer), body, forbidden, problem.Forbidden, writePeers},
	}
}

// TestRemote asks at an address that other hosts reach: signed requests are taken, a plain token is not, nor is it in a configuration
// that has such an address.
func TestRemote(t *testing.T) {
	netns.Require(t)
	const ip = "10.99.0.1"
	netns.AddAddr(t, nil, "lo", netip.MustParsePrefix(ip+"/32"))
	s := newTrusting(t, nil)
	s.servers.server(t, s.site, net.ParseIP(ip))
	address := net.JoinHostPort(ip, strconv.Itoa(port(t)))
	s.base = "https://" + address
	s.set(t, settings{"api.listen": []string{"unix:" + s.socket(), address}})
	d := s.launch(t)
	require.Equal(t, 1, d.wait(t))
	require.Contains(t, d.log.String(), "api.auth.bearer_token: is taken on this host alone")

	s.set(t, settings{"api.auth.bearer_token": "none"})
	d = s.start(t)
	anybody := from(ip, s.servers.trusted())
	require.Empty(t, allPeers(t, signing(anybody, s.reader, claims(readPeers)), s.base))
	p := refused(t, anybody, http.StatusUnauthorized, problem.Unauthenticated, http.MethodGet, s.base+peers, nil, "Authorization", "Bearer "+bearer)
	require.Contains(t, p.Detail, "through the loopback and a unix socket only")
	d.stop(t)
}
