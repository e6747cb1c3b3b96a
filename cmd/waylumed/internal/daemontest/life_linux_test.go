package daemontest

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	api "github.com/waylume/waylume/wgnode/httpapi/v1"
)

// TestLife has peers outlast an end in order and a kill, and no socket outlast the former.
func TestLife(t *testing.T) {
	s := newSite(t, nil)
	client := s.unix()
	d := s.start(t)
	d.logs(t, "served_at=unix:"+s.socket()+"\n")
	made := must[api.CreatedPeer](t, client, http.StatusCreated, http.MethodPost, onSocket+peers, api.PeerSpec{Name: "ada"})
	require.NotZero(t, made.PrivateKey)
	require.Contains(t, made.Config, "PrivateKey = "+made.PrivateKey.String())
	require.Equal(t, []api.Peer{made.Peer}, allPeers(t, client, onSocket))
	require.Equal(t, made.Peer, must[api.Peer](t, client, http.StatusOK, http.MethodGet, onSocket+peers+"/"+made.ID, nil))
	d.stop(t)
	require.NoFileExists(t, s.socket())
	require.NoFileExists(t, s.socket()+"~")

	d = s.start(t)
	require.Equal(t, []api.Peer{made.Peer}, allPeers(t, client, onSocket))
	d.kill()
	info, err := os.Lstat(s.socket())
	require.NoError(t, err, "the killed leave their socket")
	require.Equal(t, os.ModeSocket|0o600, info.Mode())

	d = s.start(t)
	require.Equal(t, []api.Peer{made.Peer}, allPeers(t, client, onSocket))
	d.stop(t)
	verify(t, s)
}

// TestDrain has a request under way when the end comes: it is answered, and no other is begun.
func TestDrain(t *testing.T) {
	s := newSite(t, nil)
	d := s.start(t)
	c, err := net.Dial("unix", s.socket())
	require.NoError(t, err)
	defer func() { _ = c.Close() }()
	const body = `{"name":"late"}`
	// Expect has the server say when its handler reads, so that the request is known to be under way.
	_, err = fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: node\r\nContent-Type: application/json\r\nContent-Length: %d\r\n"+
		"Expect: 100-continue\r\n\r\n", peers, len(body))
	require.NoError(t, err)
	in := bufio.NewReader(c)
	line, err := in.ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "HTTP/1.1 100 Continue\r\n", line)
	_, err = in.ReadString('\n')
	require.NoError(t, err)

	d.signal(t, syscall.SIGTERM)
	d.logs(t, "coming to an end")
	d.until(t, "the socket is closed", func() bool {
		other, err := net.Dial("unix", s.socket())
		if err != nil {
			return true
		}
		_ = other.Close()
		return false
	})
	_, err = io.WriteString(c, body)
	require.NoError(t, err)
	res, err := http.ReadResponse(in, nil)
	require.NoError(t, err, "what is under way is answered")
	answer, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	require.Contains(t, []int{http.StatusCreated, http.StatusServiceUnavailable}, res.StatusCode, "%s", answer)
	require.True(t, res.Close, "and nothing more")
	require.Zero(t, d.wait(t), d.log)

	s.start(t)
	there := 0
	if res.StatusCode == http.StatusCreated {
		there = 1
	}
	require.Len(t, allPeers(t, s.unix(), onSocket), there)
}

// TestTwo has a second daemon refuse a state that another has, and not disturb it.
func TestTwo(t *testing.T) {
	s := newSite(t, nil)
	first := s.start(t)
	second := s.launch(t)
	require.Equal(t, 1, second.wait(t))
	require.Contains(t, second.log.String(), "Another waylumed runs on "+s.path("state")+": stop it, or give this one a directory of its own")
	require.NotContains(t, second.log.String(), "goroutine ")
	require.Empty(t, allPeers(t, s.unix(), onSocket))
	first.stop(t)
}

// TestBusyPort has the API's address be another program's: the daemon says so and leaves nothing that runs.
func TestBusyPort(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { require.NoError(t, l.Close()) }()
	s := newSite(t, nil)
	s.set(t, settings{"api.listen": []string{"unix:" + s.socket(), l.Addr().String()}})
	d := s.launch(t)
	require.Equal(t, 1, d.wait(t))
	require.Contains(t, d.log.String(), "listen on "+l.Addr().String())
	require.Contains(t, d.log.String(), "address already in use")
	require.NotContains(t, d.log.String(), "goroutine ")
	require.NoFileExists(t, s.socket())

	s.set(t, settings{"api.listen": []string{"unix:" + s.socket()}})
	s.start(t).stop(t)
}

// TestForeignSocket has something else at the name of the socket: it is left alone.
func TestForeignSocket(t *testing.T) {
	s := newSite(t, nil)
	require.NoError(t, os.Mkdir(s.path("state"), 0o700))
	require.NoError(t, os.WriteFile(s.socket(), []byte("notes"), 0o600))
	d := s.launch(t)
	require.Equal(t, 1, d.wait(t))
	require.Contains(t, d.log.String(), "move it away")
	data, err := os.ReadFile(s.socket())
	require.NoError(t, err)
	require.Equal(t, "notes", string(data))
}
