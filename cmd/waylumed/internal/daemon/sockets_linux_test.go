package daemon

import (
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/waylume/waylume/cmd/waylumed/internal/config"
)

// TestCheckInherited: what the check of a configuration insists on holds for sockets that somebody else has opened.
func TestCheckInherited(t *testing.T) {
	everywhere, local := &net.TCPAddr{IP: net.IPv6zero, Port: 8443}, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8443}
	var signed, secure config.Config
	signed.API.Auth.Keys = []config.Key{{KID: "k"}}
	secure = signed
	secure.API.TLS.CertFile = "cert.pem"
	bearer, unsigned, production, pprof := secure, config.Config{}, signed, secure
	bearer.API.Auth.BearerToken = config.NewSecret("a")
	unsigned.API.TLS.CertFile = "cert.pem"
	production.Profile = config.Production
	pprof.Admin.Pprof = true
	for _, c := range []struct {
		name string
		cfg  config.Config
		addr net.Addr
		want string
	}{
		{"api", config.Config{}, &net.UnixAddr{Name: "/a"}, ""},
		{"api", config.Config{}, local, ""},
		{"api", production, local, "without TLS"},
		{"api", signed, everywhere, "without TLS"},
		{"api", unsigned, everywhere, "nobody could sign"},
		{"api", bearer, everywhere, "api.auth.bearer_token"},
		{"api", secure, everywhere, ""},
		{adminSocket, pprof, everywhere, "admin.pprof"},
		{adminSocket, pprof, local, ""},
		{adminSocket, secure, everywhere, ""},
	} {
		err := checkInherited(c.cfg, c.name, c.addr)
		if c.want == "" {
			require.NoError(t, err, "%v", c)
		} else {
			require.ErrorContains(t, err, c.want, "%v", c)
		}
	}
}

func TestSame(t *testing.T) {
	all, v4, local := &net.TCPAddr{IP: net.IPv6zero, Port: 8443}, &net.TCPAddr{IP: net.IPv4zero, Port: 8443},
		&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8443}
	for _, c := range []struct {
		text string
		addr net.Addr
		want bool
	}{
		{"unix:/run/a", &net.UnixAddr{Name: "/run/a"}, true}, {"unix:/run/a", &net.UnixAddr{Name: "/run/b"}, false},
		{"unix:/run/a", all, false}, {":8443", all, true}, {":8443", v4, true}, {":8443", local, false}, {":8444", all, false},
		{"127.0.0.1:8443", local, true}, {"localhost:8443", local, true}, {"[::]:8443", all, true}, {"0.0.0.0:8443", all, false},
		{":8443", &net.UnixAddr{Name: "/run/a"}, false},
	} {
		address, err := config.ParseAddress(c.text)
		require.NoError(t, err)
		require.Equal(t, c.want, same(address, c.addr), "%s %v", c.text, c.addr)
	}
}

// TestVacate: a socket that somebody serves is left alone, however many wait for it; one that nobody serves makes room.
func TestVacate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	require.NoError(t, vacate(path))
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	require.NoError(t, unix.Bind(fd, &unix.SockaddrUnix{Name: path}))
	require.NoError(t, unix.Listen(fd, 0)) // one waits, and then no more
	for range 3 {
		require.ErrorContains(t, vacate(path), "another program serves that socket")
	}
	require.NoError(t, unix.Close(fd))
	require.NoError(t, vacate(path))
	require.NoFileExists(t, path)
	require.NoError(t, os.WriteFile(path, nil, 0o600))
	require.ErrorContains(t, vacate(path), "something else has that name")
}
