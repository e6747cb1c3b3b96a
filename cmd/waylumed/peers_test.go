package main

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	api "github.com/waylume/waylume/wgnode/httpapi/v1"
)

// Keys of devices.
const (
	phoneKey  = "AgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
	laptopKey = "AwAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
)

// populated is a daemon with an account and two peers.
func populated(t *testing.T) *served {
	t.Helper()
	d := newDaemon(t)
	d.want("accounts put family --speed 200mbit --cap 1TiB --period monthly --label plan=pro",
		"Account family: speed limit 200 Mbit/s, data cap 1 TiB monthly.\n")
	for _, line := range []string{
		"peers add phone --account family --speed 50mbit --cap 100GiB --period monthly --expires 30d --public-key " + phoneKey,
		"peers add laptop --download 1.5gbit --cap 5GB --period 30d --throttle 1mbit --keep 7d --idle-timeout 30d --public-key " + laptopKey,
	} {
		status, _, stderr := d.run(line)
		require.Equal(t, exitOK, status, stderr)
	}
	return d
}

func TestPeersList(t *testing.T) {
	d := newDaemon(t)
	d.want("peers list", "There are no peers.\n")
	require.Equal(t, []api.Peer{}, answer[[]api.Peer](d, "peers list"))
	d = populated(t)
	d.want("peers list", `
╭────────┬──────────┬─────────┬────────────────────────┬──────────────────────────┬────────────────────────────┬────────┬─────────────────────╮
│ Peer   │ Key      │ Account │ Addresses              │ Speed limit              │ Data cap                   │ State  │ Expires             │
├────────┼──────────┼─────────┼────────────────────────┼──────────────────────────┼────────────────────────────┼────────┼─────────────────────┤
│ phone  │ AgAAAAAA │ family  │ 10.0.0.2               │ 50 Mbit/s                │ 100 GiB monthly            │ active │ 2026-11-21 18:00:00 │
│        │          │         │ fd77:6179:6c75:6d65::2 │                          │                            │        │                     │
│ laptop │ AwAAAAAA │         │ 10.0.0.3               │ ↓ 1.5 Gbit/s ↑ unlimited │ 5 GB in 30d, then 1 Mbit/s │ active │ never               │
│        │          │         │ fd77:6179:6c75:6d65::3 │                          │                            │        │                     │
╰────────┴──────────┴─────────┴────────────────────────┴──────────────────────────┴────────────────────────────┴────────┴─────────────────────╯
`)
	peers := answer[[]api.Peer](d, "peers list --account family")
	require.Len(t, peers, 1)
	require.Equal(t, phoneKey, peers[0].PublicKey.String())
	require.Equal(t, &api.DataCap{Bytes: 100 << 30, Counted: "both", Period: api.Period{Kind: "monthly"}, AtEnd: "block"},
		peers[0].DataCap)
}

func TestPeersShow(t *testing.T) {
	d := populated(t)
	d.want("peers show laptop", `
Peer laptop
  Public key     AwAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=
  Addresses      10.0.0.3, fd77:6179:6c75:6d65::3
  State          active
  Speed limit    ↓ 1.5 Gbit/s ↑ unlimited
  Data cap       5 GB in 30d, then 1 Mbit/s
  Expires        never
  Kept after     7d
  Idle time-out  30d
  Created        2026-11-21 18:00:00
  Used           0 B of 5 GB, 0 %
  Since added    ↓ 0 B ↑ 0 B
  Connection     unknown
  Handshake      none
`)
	for _, name := range []string{"phone", phoneKey, strings.TrimSuffix(phoneKey, "="), "AgAA"} {
		require.Equal(t, "phone", answer[api.Peer](d, "peers show "+name).Name)
	}
	require.Equal(t,
		"waylumed: there is no such peer as \"AgA\", neither by its name nor by how its key begins: 'waylumed peers list' shows those that there are\n",
		d.fails("peers show AgA", exitFailed), "too short for a key")
	require.Contains(t, d.fails("peers show BAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", exitFailed),
		"there is no such peer with the key BAAA")
	require.Contains(t, d.fails("peers show", exitUsage), "wants waylumed peers show PEER")
	require.Contains(t, d.fails("peers", exitUsage), "say what to do")
	require.Contains(t, d.fails("peers shwo phone", exitUsage), `unknown command "shwo" for "waylumed peers"`)
}

// A name that may be any of several changes none of them.
func TestPeersAmbiguous(t *testing.T) {
	d := populated(t)
	d.run("peers add phone --public-key BAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=")
	require.Equal(t, `waylumed: "phone" may be any of 2 peers: give the key of the one that is meant, or more of it
  AgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=  phone, account family
  BAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=  phone
there is no such peer as "nobody", neither by its name nor by how its key begins: 'waylumed peers list' shows those that there are
`, d.fails("peers remove phone nobody laptop", exitFailed))
	d.run("peers add AwAA")
	require.Contains(t, d.fails("peers suspend AwAA", exitFailed), `"AwAA" may be any of 2 peers`, "a name and a key")
	require.Len(t, answer[[]api.Peer](d, "peers list"), 4)
	d.want("peers remove BAAA laptop BAAA",
		"Removed peer phone, key BAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=.\nRemoved peer laptop, key "+laptopKey+".\n")
	removed := answer[[]api.Peer](d, "peers remove phone")
	require.Equal(t, phoneKey, removed[0].PublicKey.String())
}

func TestPeersChange(t *testing.T) {
	d := populated(t)
	for _, test := range []struct{ line, want string }{
		{"peers limit phone 20mbit", "Peer phone: speed limit 20 Mbit/s.\n"},
		{"peers limit phone --upload none", "Peer phone: speed limit ↓ 20 Mbit/s ↑ unlimited.\n"},
		{"peers limit phone none", "Peer phone: speed limit none.\n"},
		{"peers cap phone --throttle 1mbit", "Peer phone: data cap 100 GiB monthly, then 1 Mbit/s.\n"},
		{"peers cap phone 10GiB --period 24h --counted download", "Peer phone: data cap 10 GiB in 1d, download, then 1 Mbit/s.\n"},
		{"peers cap phone --at-end block --period weekly --time-zone Europe/Berlin", "Peer phone: data cap 10 GiB weekly, download.\n"},
		{"peers cap phone none", "Peer phone: data cap none.\n"},
		{"peers cap phone 1GB", "Peer phone: data cap 1 GB.\n"},
		{"peers suspend phone laptop", "Suspended peer phone: it is suspended now.\nSuspended peer laptop: it is suspended now.\n"},
		{"peers resume phone", "Resumed peer phone: it is active now.\n"},
		{"peers expire phone 2099-01-01 --keep 2d", "Peer phone: expires at 2026-11-21 18:00:00, and is kept for 2d after that.\n"},
		{"peers expire phone never --keep none", "Peer phone: does not expire.\n"},
		{"peers move phone --out", "Peer phone: of no account.\n"},
		{"peers move phone family", "Peer phone: of account family.\n"},
	} {
		d.want(test.line, test.want)
	}
	p := answer[api.Peer](d, "peers limit phone --download 8kbit --upload 1.5gbit")
	require.Equal(t, api.SpeedLimit{Download: 8000, Upload: 1_500_000_000}, p.SpeedLimit)
	require.Len(t, answer[[]api.Peer](d, "peers resume phone laptop"), 2)
	for line, want := range map[string]string{
		"peers limit phone":                                   "RATE: is not given",
		"peers limit phone fast":                              "2 things are wrong",
		"peers limit phone 1mbit --upload 2mbit":              "beside a rate for both",
		"peers cap phone":                                     "AMOUNT: is not given",
		"peers cap phone none --period daily":                 "AMOUNT: is none",
		"peers cap phone 5G --counted up --at-end stop":       "3 things are wrong",
		"peers cap phone 5GB --at-end throttle":               "throttle needs a rate",
		"peers cap phone 5GB --period fortnightly":            "give none, daily, weekly, monthly, or whole minutes",
		"peers cap phone 5GB --at-end block --throttle 1mbit": "give one of them",
		"peers expire phone soon":                             `"soon" is not a time`,
		"peers expire phone":                                  "wants waylumed peers expire PEER TIME",
		"peers move phone":                                    "give an ACCOUNT, or --out",
		"peers add x --public-key abc --qr --label pro --address 1.2.3 --expires x --throttle 1mbit": "6 things are wrong",
		"peers qr phone": "'waylumed peers rekey'",
	} {
		require.Contains(t, d.fails(line, exitUsage), want, line)
	}
	require.Equal(t,
		"waylumed: change a peer: the node refuses it\n  account: \"nobody\" does not exist: create it with PUT /api/v1/accounts/{id}\n",
		d.fails("peers move phone nobody", exitFailed))
}

// The private key that is shown once is shown, or in a file that was not there.
func TestPeersConfig(t *testing.T) {
	d := newDaemon(t)
	status, out, stderr := d.run("peers add tablet --qr")
	require.Equal(t, exitOK, status, stderr)
	require.Contains(t, out, "its private key is shown this once and is not kept\n\n[Interface]\nPrivateKey = ")
	require.Contains(t, out, "As a QR code  scan it with the WireGuard app")
	require.Greater(t, strings.Count(out, "█"), 100)

	path := d.file("tv.conf")
	status, out, stderr = d.run("peers add tv --out " + path)
	require.Equal(t, exitOK, status, stderr)
	require.Contains(t, out, "Its configuration is in "+path+": its private key is nowhere else\n")
	require.NotContains(t, out, "PrivateKey")
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode())
	saved, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Contains(t, d.fails("peers add tv2 --out "+path, exitFailed), "It may hold a private key that is nowhere else")
	require.Len(t, answer[[]api.Peer](d, "peers list"), 2, "nothing was added")
	d.want("peers config tv --private-key-file "+path, string(saved))
	require.Contains(t, d.fails("peers config tablet --private-key-file "+path, exitFailed),
		"the private key is not that of peer tablet")
	status, out, stderr = d.run("peers qr tv --private-key-file " + path)
	require.Equal(t, exitOK, status, stderr)
	require.NotContains(t, out, "PrivateKey")
	cfg := answer[api.PeerConfig](d, "peers config tv")
	require.Equal(t, "vpn.example.com:51820", cfg.Endpoint)
	d.want("peers config tv --out "+d.file("new.conf"), "The configuration is in "+d.file("new.conf")+".\n")

	// A preshared key comes from where it was saved.
	require.NoError(t, os.WriteFile(d.file("psk"), []byte(phoneKey+"\n"), 0o600))
	created := answer[api.CreatedPeer](d, "peers add psk --preshared-key-file "+d.file("psk")+" --out "+d.file("psk.conf"))
	saved, err = os.ReadFile(d.file("psk.conf"))
	require.NoError(t, err)
	require.Equal(t, created.Config, string(saved))
	require.Contains(t, created.Config, "PresharedKey = "+phoneKey)
	d.want("peers config psk --private-key-file "+d.file("psk.conf"), string(saved))
	require.NoError(t, os.WriteFile(d.file("key"), []byte(created.PrivateKey.String()), 0o600))
	require.Contains(t, d.fails("peers config psk --private-key-file "+d.file("key"), exitFailed),
		"has a preshared key, which is not shown")
	require.NoError(t, os.WriteFile(d.file("bad"), []byte("PrivateKey = secret"), 0o600))
	text := d.fails("peers config psk --private-key-file "+d.file("bad"), exitFailed)
	require.Contains(t, text, "PrivateKey is not a WireGuard key")
	require.NotContains(t, text, "secret")

	rekeyed := answer[api.CreatedPeer](d, "peers rekey tv --out "+d.file("tv2.conf"))
	require.Equal(t, rekeyed.PublicKey, api.Key(wgtypes.Key(rekeyed.PrivateKey).PublicKey()))
	require.NotEmpty(t, rekeyed.FormerID)
	saved, err = os.ReadFile(d.file("tv2.conf"))
	require.NoError(t, err)
	require.Equal(t, rekeyed.Config, string(saved))
}
