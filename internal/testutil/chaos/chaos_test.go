package chaos

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// echo starts a server that answers with what it got, and returns its address.
func echo(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var serving sync.WaitGroup
	var mu sync.Mutex
	var conns []net.Conn
	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, conn)
			mu.Unlock()
			serving.Go(func() {
				_, _ = io.Copy(conn, conn) // a test ends it as it likes
				_ = conn.Close()
			})
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		mu.Lock()
		for _, c := range conns {
			_ = c.Close()
		}
		mu.Unlock()
		serving.Wait()
	})
	return listener.Addr().String()
}

func connect(t *testing.T, p *Proxy) *net.TCPConn {
	t.Helper()
	conn, err := net.Dial("tcp", p.Addr())
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return conn.(*net.TCPConn)
}

// ask sends bytes and waits for as many.
func ask(conn net.Conn, say []byte) ([]byte, error) {
	if _, err := conn.Write(say); err != nil {
		return nil, err
	}
	got := make([]byte, len(say))
	n, err := io.ReadFull(conn, got)
	return got[:n], err
}

// askAnew connects and asks: where a connection is reset at once, either may be what fails.
func askAnew(p *Proxy) error {
	conn, err := net.Dial("tcp", p.Addr())
	if err != nil {
		return err
	}
	_, err = ask(conn, []byte("hello"))
	return errors.Join(err, conn.Close())
}

// hears says whether anything comes within a time that is long on a loopback.
func hears(t *testing.T, conn net.Conn) bool {
	t.Helper()
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(200*time.Millisecond)))
	_, err := conn.Read(make([]byte, 1))
	require.NoError(t, conn.SetReadDeadline(time.Time{}))
	if err != nil {
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	}
	return err == nil
}

func TestPassesAllAndTheEnd(t *testing.T) {
	p := New(t, echo(t))
	conn := connect(t, p)
	say := bytes.Repeat([]byte("all is well "), 100_000)
	got := make(chan []byte)
	go func() {
		all, _ := io.ReadAll(conn)
		got <- all
	}()
	_, err := conn.Write(say)
	require.NoError(t, err)
	require.NoError(t, conn.CloseWrite(), "the server hears the end, and says its own")
	require.Equal(t, say, <-got)
	require.Eventually(t, func() bool { return p.Open() == 0 }, 10*time.Second, time.Millisecond)
	require.Equal(t, 1, p.Accepted())
}

func TestRefuses(t *testing.T) {
	p := New(t, echo(t))
	there := connect(t, p)
	_, err := ask(there, []byte("hello"))
	require.NoError(t, err)
	p.Set(Faults{Refuse: true})
	require.Error(t, askAnew(p))
	_, err = ask(there, []byte("those that there are stay"))
	require.NoError(t, err)
	p.Set(Faults{})
	_, err = ask(connect(t, p), []byte("hello"))
	require.NoError(t, err)
}

func TestServerThatIsNotThere(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, listener.Close())
	p := New(t, listener.Addr().String())
	require.Error(t, askAnew(p))
	p.Redirect(echo(t))
	_, err = ask(connect(t, p), []byte("hello"))
	require.NoError(t, err)
}

func TestSilence(t *testing.T) {
	p := New(t, echo(t))
	conn := connect(t, p)
	_, err := ask(conn, []byte("hello"))
	require.NoError(t, err)
	p.Set(Faults{Silent: true})
	for _, c := range []*net.TCPConn{conn, connect(t, p)} {
		_, err = c.Write([]byte("is anybody there"))
		require.NoError(t, err)
		require.False(t, hears(t, c))
	}
	p.Set(Faults{})
	got, err := ask(conn, []byte("again"))
	require.NoError(t, err)
	require.Equal(t, "again", string(got), "what was said meanwhile is lost")
}

func TestHalfOpen(t *testing.T) {
	p := New(t, echo(t))
	conn := connect(t, p)
	p.Set(Faults{Silent: true, Direction: ToClient})
	_, err := conn.Write([]byte("it arrives, and the answer does not"))
	require.NoError(t, err)
	require.False(t, hears(t, conn))
	require.NoError(t, conn.CloseWrite())
	require.False(t, hears(t, conn), "not even the end")
	p.Set(Faults{})
	all, err := io.ReadAll(conn)
	require.NoError(t, err)
	require.Empty(t, all)
}

func TestDelay(t *testing.T) {
	p := New(t, echo(t))
	conn := connect(t, p)
	p.Set(Faults{Delay: 50 * time.Millisecond})
	began := time.Now()
	_, err := ask(conn, []byte("hello"))
	require.NoError(t, err)
	require.GreaterOrEqual(t, time.Since(began), 100*time.Millisecond, "each way")
}

func TestThrottle(t *testing.T) {
	p := New(t, echo(t))
	conn := connect(t, p)
	p.Set(Faults{Rate: 100_000, Direction: ToServer})
	began := time.Now()
	_, err := ask(conn, make([]byte, 30_000))
	require.NoError(t, err)
	require.GreaterOrEqual(t, time.Since(began), 300*time.Millisecond)
}

func TestResetAfterSoManyBytes(t *testing.T) {
	p := New(t, echo(t))
	conn := connect(t, p)
	_, err := ask(conn, make([]byte, 1000))
	require.NoError(t, err)
	p.Set(Faults{Reset: 150})
	_, err = ask(conn, make([]byte, 100))
	require.True(t, errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE), "%v", err)
	got, err := ask(connect(t, p), make([]byte, 75))
	require.NotErrorIs(t, err, io.EOF, "it is no orderly end")
	require.LessOrEqual(t, len(got), 75, "it is counted for each connection anew")
}

func TestGarble(t *testing.T) {
	p := New(t, echo(t))
	conn := connect(t, p)
	p.Set(Faults{Garble: 10, Direction: ToClient})
	say := make([]byte, 10_000)
	got, err := ask(conn, say)
	require.NoError(t, err)
	flipped := 0
	for i := range got {
		if got[i] != say[i] {
			flipped++
		}
	}
	require.Equal(t, 1000, flipped)
}

func TestSever(t *testing.T) {
	p := New(t, echo(t))
	conn := connect(t, p)
	_, err := ask(conn, []byte("hello"))
	require.NoError(t, err)
	p.Sever()
	_, err = conn.Read(make([]byte, 1))
	require.ErrorIs(t, err, syscall.ECONNRESET)
	_, err = ask(connect(t, p), []byte("hello"))
	require.NoError(t, err)
}

// Whatever a connection waits for, Close ends it; goleak sees to it that nothing is left.
func TestCloseInTheMiddle(t *testing.T) {
	for _, f := range []Faults{{}, {Silent: true}, {Delay: time.Hour}, {Rate: 1}, {Silent: true, Direction: ToServer}} {
		p, err := start(echo(t))
		require.NoError(t, err)
		conn := connect(t, p)
		_, err = ask(conn, []byte("hello"))
		require.NoError(t, err)
		p.Set(f)
		_, err = conn.Write(make([]byte, 100))
		require.NoError(t, err)
		require.NoError(t, conn.CloseWrite())
		require.NoError(t, p.Close())
		require.NoError(t, p.Close())
		require.Zero(t, p.Open())
		_, err = net.Dial("tcp", p.Addr())
		require.Error(t, err)
	}
}
