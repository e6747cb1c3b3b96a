package daemontest

import (
	"fmt"
	"net/http"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/wgnode/httpapi/problem"
	api "github.com/waylume/waylume/wgnode/httpapi/v1"
)

// TestLogStrict keeps a daemon busy, with the log as talkative and as discreet as it gets, and looks for whatever identifies
// somebody, or lets somebody in.
func TestLogStrict(t *testing.T) {
	const (
		ip      = "127.0.9.9" // of a client
		account = "account-of-ada-0815"
		person  = "Ada Lovelace"
		label   = "premium-customers"
	)
	s := newTrusting(t, settings{"log.level": "info", "log.redaction": "strict", "node.sync_period": "1s", "node.checkpoint_period": "1s"})
	d := s.start(t)
	require.NotContains(t, d.log.String(), "level=DEBUG")
	s.set(t, settings{"log.level": "debug"})
	d.signal(t, syscall.SIGHUP)
	d.logs(t, "setting=log.level")

	secrets := []string{bearer, strings.TrimSpace(s.secret), ip, account, person, label}
	client := signing(from(ip, s.servers.trusted()), s.writer, claims(readPeers, writePeers))
	must[api.Account](t, client, http.StatusCreated, http.MethodPut, s.base+"/api/v1/accounts/"+account, api.AccountSpec{})
	for i := range 5 {
		psk, err := wgtypes.GenerateKey()
		require.NoError(t, err)
		key := uuid()
		made := must[api.CreatedPeer](t, client, http.StatusCreated, http.MethodPost, s.base+peers, api.PeerSpec{
			Name: person, Account: account, PresharedKey: api.Key(psk), Labels: map[string]string{"tier": label},
			DataCap: &api.DataCap{Bytes: 1 << 30, Period: api.Period{Kind: "monthly"}},
		}, "Idempotency-Key", key)
		secrets = append(secrets, psk.String(), key, made.ID, made.PublicKey.String(), made.PrivateKey.String(), made.PrivateKey.ID())
		for _, addr := range made.Addresses {
			secrets = append(secrets, addr.String())
		}
		path := s.base + peers + "/" + made.ID
		must[api.Peer](t, client, http.StatusOK, http.MethodPatch, path, map[string]any{"suspended": i%2 == 0})
		rekeyed := must[api.CreatedPeer](t, client, http.StatusOK, http.MethodPost, path+"/rekey", map[string]any{})
		secrets = append(secrets, rekeyed.ID, rekeyed.PublicKey.String(), rekeyed.PrivateKey.String())
		refused(t, client, http.StatusNotFound, problem.NotFound, http.MethodDelete, path, nil)
		if i%2 == 0 {
			must[struct{}](t, client, http.StatusNoContent, http.MethodDelete, s.base+peers+"/"+rekeyed.ID, nil)
		}
	}
	req := s.request(t, http.MethodGet, peers, "", s.reader, claims(readPeers))
	token := strings.TrimPrefix(req.Header.Get("Authorization"), "Bearer ")
	secrets = append(secrets, token, token[strings.LastIndex(token, ".")+1:])
	for _, status := range []int{http.StatusOK, http.StatusUnauthorized} { // the second time it is replayed
		require.Equal(t, status, send(t, from(ip, s.servers.trusted()), req, "").status)
	}
	guess := "guess-" + strings.Repeat("g", 32)
	secrets = append(secrets, guess)
	refused(t, from(ip, s.servers.trusted()), http.StatusUnauthorized, problem.Unauthenticated, http.MethodGet,
		s.base+peers+"?account="+account, nil, "Authorization", "Bearer "+guess)
	_, err := ask(from(ip, nil), http.MethodGet, s.base+peers, nil) // trusts no CA
	require.Error(t, err)
	d.logs(t, "TLS handshake error") // net/http's own words, with an address
	d.stop(t)
	text := d.log.String()
	require.Contains(t, text, "level=DEBUG")
	for _, secret := range secrets {
		require.NotContains(t, text, secret)
	}
	require.NotContains(t, text, fmt.Sprintf("%q", person))
}
