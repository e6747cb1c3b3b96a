package daemontest

import (
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/internal/testutil/netns"
)

// neighbour is a host beside the daemon's.
type neighbour struct {
	host *netns.Namespace
	addr netip.Addr
}

func newNeighbour(t *testing.T, name string, near, far netip.Prefix) neighbour {
	t.Helper()
	n := neighbour{netns.New(t), far.Addr()}
	netns.Veth(t, netns.End{Name: name, Addrs: []netip.Prefix{near}}, netns.End{Namespace: n.host, Name: "eth0", Addrs: []netip.Prefix{far}})
	return n
}

// connect is an attempt at a TCP connection.
func (n neighbour) connect(t *testing.T, address string) (err error) {
	t.Helper()
	n.host.Do(t, func() error {
		var c net.Conn
		if c, err = net.DialTimeout("tcp", address, time.Second); err == nil {
			_ = c.Close()
		}
		return nil
	})
	return err
}

// TestAllowlist has nftables drop, before a connection is made, what comes to the API's port from hosts that are not on the list;
// a list that changes is in force after its time, and one that is wrong is not.
func TestAllowlist(t *testing.T) {
	netns.Require(t)
	s := newTrusting(t, nil)
	friend := newNeighbour(t, "friend0", netip.MustParsePrefix("192.0.2.1/30"), netip.MustParsePrefix("192.0.2.2/30"))
	stranger := newNeighbour(t, "stranger0", netip.MustParsePrefix("192.0.2.5/30"), netip.MustParsePrefix("192.0.2.6/30"))
	_, port, err := net.SplitHostPort(s.base[len("https://"):])
	require.NoError(t, err)
	list := func(text string) { require.NoError(t, os.WriteFile(s.path("list"), []byte(text), 0o600)) }
	list(friend.addr.String() + " # of ours\n")
	s.set(t, settings{
		"api.listen": []string{"unix:" + s.socket(), ":" + port}, "api.tls.cert_file": s.path("cert.pem"), "api.tls.key_file": s.path("key.pem"),
		"api.auth.keys": s.keys, "api.auth.bearer_token": "none", "node.dataplane": "kernel", "allowlist.file": s.path("list"), "allowlist.refresh": "10s",
	})
	d := s.start(t)
	toFriend, toStranger := net.JoinHostPort("192.0.2.1", port), net.JoinHostPort("192.0.2.5", port)
	require.NoError(t, friend.connect(t, toFriend))
	var refused net.Error
	require.ErrorAs(t, stranger.connect(t, toStranger), &refused)
	require.True(t, refused.Timeout(), "nothing answers")
	own, err := net.Dial("tcp", s.base[len("https://"):])
	require.NoError(t, err, "the host itself is not shut out")
	require.NoError(t, own.Close())

	list("nonsense")
	d.logs(t, "nonsense")
	require.NoError(t, friend.connect(t, toFriend), "the last good list stays")
	list(friend.addr.String() + "\n" + stranger.addr.String() + "\n")
	d.until(t, "the list is in force", func() bool { return stranger.connect(t, toStranger) == nil })
	d.stop(t)
}
