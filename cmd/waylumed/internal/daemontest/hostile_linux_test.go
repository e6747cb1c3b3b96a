package daemontest

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/waylume/waylume/wgnode/httpapi/problem"
	api "github.com/waylume/waylume/wgnode/httpapi/v1"
)

// plain is a site whose API is served without TLS on the loopback, to those who have the plain token.
func plain(tb testing.TB, others settings) (s *site, address string) {
	tb.Helper()
	address = loopback(tb)
	s = newSite(tb, settings{"api.auth.bearer_token": bearer})
	s.set(tb, settings{"api.listen": []string{"unix:" + s.socket(), address}}.with(others))
	return s, address
}

// authorized is the header of the plain token.
const authorized = "Authorization: Bearer " + bearer + "\r\n"

// memory is a line of /proc/PID/status, in bytes: VmRSS, RssAnon, RssFile.
func (d *daemon) memory(tb testing.TB, name string) int {
	tb.Helper()
	kib, err := strconv.Atoi(strings.TrimSuffix(d.status(tb, name), " kB"))
	require.NoError(tb, err)
	return kib << 10
}

// status is a line of /proc/PID/status.
func (d *daemon) status(tb testing.TB, name string) string {
	tb.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", d.cmd.Process.Pid))
	require.NoError(tb, err)
	found := regexp.MustCompile(`(?m)^` + name + `:\s*(.*)$`).FindSubmatch(data)
	require.NotNil(tb, found, name)
	return string(found[1])
}

// TestSlow has clients who send their headers, or their bodies, a byte at a time: they are cut off, and others are served meanwhile.
func TestSlow(t *testing.T) {
	s, address := plain(t, settings{"api.limits.header_time": "1s", "api.limits.request_time": "2s"})
	d := s.start(t)
	const each = 20
	group := new(errgroup.Group)
	for _, start := range []string{
		"GET " + peers + " HTTP/1.1\r\nHost: node\r\n" + authorized + "X-Slow: ",
		"POST " + peers + " HTTP/1.1\r\nHost: node\r\n" + authorized + "Content-Type: application/json\r\nContent-Length: 60000\r\n\r\n",
	} {
		for range each {
			group.Go(func() error { return trickle(address, start) })
		}
	}
	ended := make(chan error, 1)
	go func() { ended <- group.Wait() }()
	others, local := &http.Client{Timeout: patience}, s.unix()
	for served := 0; ; served++ {
		select {
		case err := <-ended:
			require.NoError(t, err)
			require.Positive(t, served)
			d.stop(t)
			return
		case <-time.After(20 * time.Millisecond):
		}
		for _, base := range []struct {
			client *http.Client
			url    string
		}{{others, "http://" + address}, {local, onSocket}} {
			must[api.PeerList](t, base.client, http.StatusOK, http.MethodGet, base.url+peers, nil, "Authorization", "Bearer "+bearer)
		}
	}
}

// trickle sends the beginning of a request, and then a byte at a time until it is cut off.
func trickle(address, start string) error {
	c, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	if _, err := io.WriteString(c, start); err != nil {
		return err
	}
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if _, err := io.WriteString(c, "x"); err != nil {
			return nil
		}
	}
	return fmt.Errorf("not cut off: %.20s", start)
}

// TestOversize has headers and bodies that are larger than they may be.
func TestOversize(t *testing.T) {
	s, address := plain(t, settings{"api.limits.header": "8KiB", "api.limits.body": "32KiB"})
	d := s.start(t)
	client := &http.Client{Timeout: patience}
	url := "http://" + address + peers
	r, err := ask(client, http.MethodGet, url, nil, "Authorization", "Bearer "+bearer, "X-Large", strings.Repeat("x", 20<<10))
	require.NoError(t, err)
	require.Equal(t, http.StatusRequestHeaderFieldsTooLarge, r.status)
	large := []byte(`{"name":"` + strings.Repeat("x", 40<<10) + `"}`)
	refused(t, client, http.StatusRequestEntityTooLarge, problem.TooLarge, http.MethodPost, url, large, "Authorization", "Bearer "+bearer)
	refused(t, s.unix(), http.StatusRequestEntityTooLarge, problem.TooLarge, http.MethodPost, onSocket+peers, large)
	refused(t, s.unix(), http.StatusRequestEntityTooLarge, problem.TooLarge, http.MethodPost, onSocket+peers, large, "Idempotency-Key", uuid())
	// Of unknown length.
	req, err := http.NewRequest(http.MethodPost, url, io.MultiReader(bytes.NewReader(large)))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+bearer)
	require.Equal(t, int64(0), req.ContentLength)
	res, err := client.Do(req)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	require.Equal(t, http.StatusRequestEntityTooLarge, res.StatusCode)
	require.Empty(t, allPeers(t, s.unix(), onSocket))
	d.stop(t)
}

// TestCrowd has more connections come than there may be, and stay: the rest are closed at once, the memory stays within bounds, and
// whoever comes through the unix socket is served.
func TestCrowd(t *testing.T) {
	const most = 500
	s, address := plain(t, settings{"api.limits.connections": most})
	d := s.start(t)
	before := d.memory(t, "RssAnon")
	crowd := 10_000
	if testing.Short() {
		crowd = 2_000
	}
	conns := make([]net.Conn, 0, crowd)
	defer func() {
		for _, c := range conns {
			_ = c.Close()
		}
	}()
	for i := range crowd {
		c, err := net.Dial("tcp", address)
		require.NoError(t, err)
		conns = append(conns, c)
		_, _ = io.WriteString(c, "GET "+peers+" HTTP/1.1\r\nHost: node\r\n") // not to its end; it may be closed already
		if i%1000 == 0 {
			require.Empty(t, allPeers(t, s.unix(), onSocket))
		}
	}
	after := d.memory(t, "RssAnon")
	held := func() (open int) { // those that are held have something to say only when their time is over
		for _, c := range conns {
			require.NoError(t, c.SetReadDeadline(time.Now().Add(time.Millisecond)))
			if _, err := c.Read(make([]byte, 1)); err != nil && os.IsTimeout(err) {
				open++
			}
		}
		return open
	}
	for deadline := time.Now().Add(10 * time.Second); held() > most; { // some may not have been accepted yet
		require.True(t, time.Now().Before(deadline), "more connections are held than there may be")
	}
	perConnection := 64 << 10
	if underRace {
		perConnection *= 8 // the detector remembers who wrote what
	}
	require.Less(t, after-before, most*perConnection, "%d connections came", crowd)
	t.Logf("%d connections: %.1f MiB more", crowd, float64(after-before)/(1<<20))
	for _, c := range conns {
		_ = c.Close()
	}
	d.until(t, "room again", func() bool {
		r, err := ask(&http.Client{}, http.MethodGet, "http://"+address+peers, nil, "Authorization", "Bearer "+bearer)
		return err == nil && r.status == http.StatusOK
	})
	d.stop(t)
}

// TestGarbage has what is no HTTP, or half of it, on connections of its own and behind requests that are answered.
func TestGarbage(t *testing.T) {
	s, address := plain(t, nil)
	d := s.start(t)
	get := "GET " + peers + " HTTP/1.1\r\nHost: node\r\n" + authorized + "\r\n"
	post := func(headers, body string) string {
		return "POST " + peers + " HTTP/1.1\r\nHost: node\r\n" + authorized + "Content-Type: application/json\r\n" + headers + "\r\n" + body
	}
	const created, bad = http.StatusCreated, http.StatusBadRequest
	for _, c := range []struct {
		name, send string
		want       []int // statuses; then the connection ends
	}{
		{"pipelined", get + get + "GET " + peers + " HTTP/1.1\r\nHost: node\r\n" + authorized + "Connection: close\r\n\r\n", []int{200, 200, 200}},
		{"garbage behind a request", get + "\x00\x01\x02 garbage\r\n\r\n", []int{200, bad}},
		{"a TLS hello", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", []int{bad}},
		{"HTTP/2 without TLS", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", []int{http.StatusUnauthorized}},
		{"no host", "GET " + peers + " HTTP/1.1\r\n\r\n", []int{bad}},
		{"two lengths", post("Content-Length: 2\r\nContent-Length: 20\r\n", "{}"), []int{bad}},
		{"a length and chunks", post("Content-Length: 2\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n", "0\r\n\r\n"), []int{bad}},
		{"an unknown encoding", post("Transfer-Encoding: gzip\r\n", "{}"), []int{http.StatusNotImplemented}},
		{"a broken chunk", post("Transfer-Encoding: chunked\r\n", "zz\r\n{}\r\n0\r\n\r\n"), []int{bad}},
		{"a header in lines", "GET " + peers + " HTTP/1.1\r\nHost: node\r\nX: a\r\n b\r\n\x00: c\r\n\r\n", []int{bad}},
		{"a tunnel", "CONNECT 192.0.2.1:25 HTTP/1.1\r\nHost: 192.0.2.1:25\r\n" + authorized + "Connection: close\r\n\r\n", []int{404}},
		{"a path upwards", "GET /api/v1/../../etc/passwd HTTP/1.1\r\nHost: node\r\n" + authorized + "Connection: close\r\n\r\n", []int{404}},
		{"a body and no more", post("Content-Length: 2\r\nConnection: close\r\n", "{}GET / HTTP/1.1\r\n"), []int{created}},
	} {
		conn, err := net.Dial("tcp", address)
		require.NoError(t, err)
		_, err = io.WriteString(conn, c.send)
		require.NoError(t, err)
		require.NoError(t, conn.SetReadDeadline(time.Now().Add(patience)))
		in := bufio.NewReader(conn)
		var got []int
		for {
			res, err := http.ReadResponse(in, nil)
			if err != nil {
				require.NotErrorIs(t, err, os.ErrDeadlineExceeded, c.name)
				break
			}
			_, err = io.Copy(io.Discard, res.Body)
			require.NoError(t, err, c.name)
			require.NoError(t, res.Body.Close())
			got = append(got, res.StatusCode)
		}
		require.Equal(t, c.want, got, c.name)
		require.NoError(t, conn.Close())
	}
	require.Len(t, allPeers(t, s.unix(), onSocket), 1)
	require.NotContains(t, d.log.String(), "fault of the program")
	d.stop(t)
}

// TestIntruder guesses tokens: the answers come later and later, then are refused at once, and both logs and the metrics tell of it.
func TestIntruder(t *testing.T) {
	admin := loopback(t)
	s, address := plain(t, settings{"admin.listen": admin})
	d := s.start(t)
	const threshold, more = 10, 20 // auth.Failures
	for i := range threshold {
		refused(t, &http.Client{Timeout: patience}, http.StatusUnauthorized, problem.Unauthenticated, http.MethodGet, "http://"+address+peers, nil,
			"Authorization", fmt.Sprintf("Bearer guess-%030d", i))
	}
	d.logs(t, fmt.Sprintf("failures=%d", threshold))
	d.logs(t, "a source keeps failing to authenticate")
	group := new(errgroup.Group)
	statuses := make([]int, more)
	for i := range more {
		group.Go(func() error {
			r, err := ask(&http.Client{Timeout: patience}, http.MethodGet, "http://"+address+peers, nil, "Authorization",
				fmt.Sprintf("Bearer another-%030d", i))
			statuses[i] = r.status
			if r.status == http.StatusTooManyRequests && r.header.Get("Retry-After") == "" {
				return fmt.Errorf("no Retry-After: %v", r.header)
			}
			return err
		})
	}
	require.NoError(t, group.Wait())
	require.Contains(t, statuses, http.StatusTooManyRequests, "so many do not wait at a time")
	require.NotContains(t, statuses, http.StatusOK)
	scrape := string(get(t, "http://"+admin+"/metrics"))
	require.Contains(t, scrape, fmt.Sprintf(`waylume_http_auth_failures_total{reason="wrong_bearer"} %d`, threshold+more))
	require.Empty(t, allPeers(t, s.unix(), onSocket), "others are served")
	d.stop(t)
	status, out := s.waylumed(t, "audit", "show", s.path("state/audit.log"))
	require.Zero(t, status, out)
	require.Regexp(t, `refused +intrusion .*from 127`, out)
}

// get gets what needs no authentication.
func get(tb testing.TB, url string) []byte {
	tb.Helper()
	r, err := ask(&http.Client{Timeout: patience}, http.MethodGet, url, nil)
	require.NoError(tb, err)
	require.Equal(tb, http.StatusOK, r.status, "%s", r.body)
	return r.body
}
