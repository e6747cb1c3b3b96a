package sessiontest

import (
	"context"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/stretchr/testify/require"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/examples/internal/client"
	"github.com/waylume/waylume/wgnode"
	api "github.com/waylume/waylume/wgnode/httpapi/v1"
)

// connection is what connection-request answers.
type connection struct {
	Session    string
	Generation int64
	Server     struct{ Name, Region, Country, City string }

	Addresses       []netip.Addr
	DNS             []netip.Addr
	MTU             int
	AllowedIPs      []netip.Prefix `json:"allowed_ips"`
	Keepalive       int
	ServerPublicKey api.Key `json:"server_public_key"`
	Endpoint        netip.AddrPort
	Text            string
}

// device is a client's: its key, and what it asks for.
type device struct {
	*user
	private wgtypes.Key
	request map[string]any
}

func (u *user) device(idempotencyKey string) *device {
	u.t.Helper()
	key, err := wgtypes.GeneratePrivateKey()
	require.NoError(u.t, err)
	return &device{user: u, private: key, request: map[string]any{
		"public_key": key.PublicKey().String(), "idempotency_key": idempotencyKey,
	}}
}

func (d *device) key() api.Key { return api.Key(d.private.PublicKey()) }

// ask makes the request.
func (d *device) ask() answer {
	d.t.Helper()
	return d.post("/connection-request", d.request)
}

// connect makes the request, which has to succeed.
func (d *device) connect() connection {
	d.t.Helper()
	return read[connection](d.rig, d.ask())
}

// up brings up a WireGuard device with the text of a connection, as wg-quick would.
func (d *device) up(c connection) *client.Client {
	t := d.t
	t.Helper()
	fields := map[string]string{}
	for line := range strings.Lines(c.Text) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), " = "); ok && !strings.HasPrefix(line, "#") {
			fields[name] = value
		}
	}
	cfg := wgnode.ClientConfig{PrivateKey: d.private, MTU: c.MTU, Keepalive: time.Duration(c.Keepalive) * time.Second}
	for text := range strings.SplitSeq(fields["Address"], ", ") {
		cfg.Addrs = append(cfg.Addrs, netip.MustParsePrefix(text).Addr())
	}
	for text := range strings.SplitSeq(fields["AllowedIPs"], ", ") {
		cfg.AllowedIPs = append(cfg.AllowedIPs, netip.MustParsePrefix(text))
	}
	key, err := wgtypes.ParseKey(fields["PublicKey"])
	require.NoError(t, err)
	cfg.ServerKey, cfg.Endpoint = key, fields["Endpoint"]
	device, err := client.Connect(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { _ = device.Close() })
	return device
}

// download reads from the internet until it has so many bytes or the time is over, and returns how many it has and how long that took.
func (d *device) download(tunnel *client.Client, most int, limit time.Duration) (int, time.Duration) {
	t := d.t
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	conn, err := tunnel.DialContextTCPAddrPort(ctx, netip.AddrPortFrom(internet, 80))
	if err != nil {
		return 0, limit
	}
	defer func() { _ = conn.Close() }()
	began := time.Now()
	require.NoError(t, conn.SetReadDeadline(began.Add(limit)))
	got := 0
	for buffer := make([]byte, 64<<10); got < most; {
		n, err := conn.Read(buffer)
		got += n
		if err != nil {
			break
		}
	}
	return got, time.Since(began)
}

// mbits is a rate in Mbit/s.
func mbits(bytes int, took time.Duration) float64 { return float64(bytes) * 8 / 1e6 / took.Seconds() }

// end ends a session.
func (u *user) end(session string) answer {
	u.t.Helper()
	return u.send(http.MethodPost, "/session-end", map[string]any{"session": session}, "Authorization", bearer(u.token))
}
