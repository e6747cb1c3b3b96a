package control

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/sync/errgroup"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// source is a state of some bytes; then comes err.
type source struct {
	data []byte
	err  error
}

func (s source) Copy(ctx context.Context, to io.Writer) error {
	for data := s.data; len(data) > 0; {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		n := min(len(data), 100_000)
		if _, err := to.Write(data[:n]); err != nil {
			return err
		}
		data = data[n:]
	}
	return s.err
}

func socketPath(t *testing.T) string { return filepath.Join(t.TempDir(), "s") }

func serve(t *testing.T, path string, s Source) *Server {
	t.Helper()
	server, err := Listen(path, s)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, server.Close()) })
	return server
}

func TestCopy(t *testing.T) {
	path, data := socketPath(t), bytes.Repeat([]byte("state"), 200_000)
	server := serve(t, path, source{data: data})
	if runtime.GOOS != "windows" {
		info, err := os.Lstat(path)
		require.NoError(t, err)
		require.Equal(t, fs.ModeSocket|0o600, info.Mode())
	}
	var g errgroup.Group
	for range 3 * maxConns {
		g.Go(func() error {
			var got bytes.Buffer
			if err := Copy(t.Context(), path, &got); err != nil {
				return err
			}
			if !bytes.Equal(data, got.Bytes()) {
				return errors.New("it is not the state")
			}
			return nil
		})
	}
	require.NoError(t, g.Wait())
	require.NoError(t, server.Close())
	require.NoError(t, server.Close())
	entries, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Empty(t, entries)
	require.ErrorIs(t, Copy(t.Context(), path, io.Discard), ErrNobody)
}

// reporter is a source that says how it is.
type reporter struct {
	source
	says string
	err  error
}

func (r reporter) Report(_ context.Context, to io.Writer) error {
	_, err := io.WriteString(to, r.says)
	return errors.Join(err, r.err)
}

func TestReport(t *testing.T) {
	path := socketPath(t)
	require.ErrorIs(t, Report(t.Context(), path, io.Discard), ErrNobody)
	server := serve(t, path, source{})
	require.ErrorContains(t, Report(t.Context(), path, io.Discard), "does not say how it is")
	require.NoError(t, server.Close())
	server = serve(t, path, reporter{says: `{"well":true}`})
	var got bytes.Buffer
	require.NoError(t, Report(t.Context(), path, &got))
	require.JSONEq(t, `{"well":true}`, got.String())
	require.NoError(t, server.Close())
	serve(t, path, reporter{says: "{", err: errors.New("it is ill")})
	require.ErrorContains(t, Report(t.Context(), path, io.Discard), "it is ill")
}

func TestCopyFails(t *testing.T) {
	path := socketPath(t)
	serve(t, path, source{data: make([]byte, 10), err: errors.New("the disk is broken\x1b")})
	require.ErrorContains(t, Copy(t.Context(), path, io.Discard), "the disk is broken")

	full := errors.New("full")
	require.ErrorIs(t, Copy(t.Context(), path, failingWriter{full}), full)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, Copy(ctx, path, io.Discard), context.Canceled)
}

type failingWriter struct{ err error }

func (w failingWriter) Write([]byte) (int, error) { return 0, w.err }

// What a process that was killed has left is replaced, and what else has the name is not.
func TestListenReplacesASocket(t *testing.T) {
	path := socketPath(t)
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	require.NoError(t, err)
	listener.SetUnlinkOnClose(false)
	require.NoError(t, listener.Close())
	require.ErrorIs(t, Copy(t.Context(), path, io.Discard), ErrNobody)
	server := serve(t, path, source{data: []byte("x")})
	require.NoError(t, Copy(t.Context(), path, io.Discard))
	require.NoError(t, server.Close())

	require.NoError(t, os.WriteFile(path, []byte("mine"), 0o600))
	_, err = Listen(path, source{})
	require.ErrorContains(t, err, "something else has that name")
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "mine", string(data))
	_, err = Listen(filepath.Join(t.TempDir(), strings.Repeat("x", 200)), source{})
	require.ErrorContains(t, err, "too long for a socket")
}

// A client that goes away or reads nothing ends with the server, at the latest.
func TestCloseEndsClients(t *testing.T) {
	path := socketPath(t)
	server := serve(t, path, source{data: make([]byte, 50<<20)})
	silent, err := net.Dial("unix", path)
	require.NoError(t, err)
	defer silent.Close()
	asking, err := net.Dial("unix", path)
	require.NoError(t, err)
	defer asking.Close()
	require.NoError(t, writeLine(asking, request{Version: protocolVersion, Verb: verbBackup}))
	_, err = bufio.NewReader(asking).ReadByte()
	require.NoError(t, err)
	gone, err := net.Dial("unix", path)
	require.NoError(t, err)
	require.NoError(t, writeLine(gone, request{Version: protocolVersion, Verb: verbBackup}))
	require.NoError(t, gone.Close())
	require.NoError(t, server.Close())
}

// askRaw sends bytes, and returns the line that they are answered with.
func askRaw(t *testing.T, path, what string) string {
	t.Helper()
	conn, err := net.Dial("unix", path)
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.SetDeadline(time.Now().Add(10*time.Second)))
	_, _ = conn.Write([]byte(what)) // the server may have seen enough before the end
	line, err := bufio.NewReader(conn).ReadString('\n')
	require.NoError(t, err)
	return line
}

func TestBadRequests(t *testing.T) {
	path := socketPath(t)
	serve(t, path, source{})
	for what, want := range map[string]string{
		"hello\n":                              `"error":"message is malformed`,
		"{}\n":                                 "was asked in version 0",
		`{"version":2,"verb":"backup"}` + "\n": "speaks version 1 of the protocol, and was asked in version 2",
		`{"version":1,"verb":"erase"}` + "\n":  `there is no verb \"erase\"`,
		strings.Repeat("x", maxLine+1):         "longer than 4096 bytes",

		`{"version":1,"verb":"rotate-key-with-overlap"}` + "\n":                `\"\" is no overlap`,
		`{"version":1,"verb":"rotate-key-with-overlap","overlap":"0"}` + "\n":  `\"0\" is no overlap`,
		`{"version":1,"verb":"rotate-key-with-overlap","overlap":"1d"}` + "\n": `\"1d\" is no overlap`,
		`{"version":1,"verb":"backup","since":7}` + "\n":                       `{"version":1}`,
	} {
		require.Contains(t, askRaw(t, path, what), want, what)
	}
}

func TestAnswersOfAnotherServer(t *testing.T) {
	for stream, want := range map[string]string{
		"":                                       "unexpected EOF",
		"{\"version\":1}\n":                      "unexpected EOF",
		"{\"version\":2}\n":                      "speaks version 2 of the protocol, this program version 1",
		"nonsense\n":                             "malformed",
		"{\"version\":1}\n\x00\x01\x00\x01":      "a piece of 65537 bytes",
		"{\"version\":1}\n\x00\x00\x00\x09short": "unexpected EOF",
		"{\"version\":1}\n\x00\x00\x00\x00":      "unexpected EOF",
		"{\"version\":2,\"error\":\"no\"}\n":     "no",
	} {
		require.ErrorContains(t, readAnswer(bufio.NewReaderSize(strings.NewReader(stream), maxLine), io.Discard), want, stream)
	}
}

func FuzzRequest(f *testing.F) {
	f.Add([]byte(`{"version":1,"verb":"backup"}`))
	f.Add([]byte(`{"version":1,"verb":"rotate-key"}`))
	f.Add([]byte(`{"version":1,"verb":"rotate-key-with-overlap","overlap":"24h"}`))
	f.Add([]byte(`{"version":1e0,"verb":"backup"} x`))
	f.Add([]byte(`[]`))
	f.Fuzz(func(t *testing.T, line []byte) {
		r, err := parseRequest(line)
		if err == nil {
			require.Equal(t, protocolVersion, r.Version)
			require.Contains(t, verbs(), r.Verb)
			overlap, err := r.overlap()
			require.NoError(t, err)
			require.Equal(t, r.Verb == verbOverlapKey, overlap > 0)
		} else {
			require.Zero(t, r)
		}
	})
}

func FuzzAnswer(f *testing.F) {
	var stream bytes.Buffer
	require.NoError(f, writeLine(&stream, answer{Version: protocolVersion}))
	pieces := pieceWriter{&stream}
	_, err := pieces.Write(bytes.Repeat([]byte{1}, maxPiece+7))
	require.NoError(f, err)
	require.NoError(f, pieces.end())
	require.NoError(f, writeLine(&stream, answer{Version: protocolVersion}))
	f.Add(stream.Bytes())
	f.Add([]byte("{\"version\":1}\n\x00\x00\x00\x01x\x00\x00\x00\x00{\"version\":1}\n"))
	f.Fuzz(func(t *testing.T, stream []byte) {
		var got bytes.Buffer
		err := readAnswer(bufio.NewReaderSize(bytes.NewReader(stream), maxLine), &got)
		require.Less(t, got.Len(), len(stream)+1)
		if err == nil {
			require.LessOrEqual(t, got.Len()+2*len(`{"version":1}`)+2+4, len(stream))
		}
	})
}
