package control

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"sync"
	"time"
)

const (
	// patience is how long one side waits for the other to do anything.
	patience = 30 * time.Second
	// maxConns is how many are served at once; others wait.
	maxConns = 4

	socketMode fs.FileMode = 0o600

	// shortPath is as long as a socket's path may be on any system, in bytes: sun_path has 104 or 108, with a zero at the end.
	shortPath = 103
)

// Source is a state that can be copied; a *boltstore.Store is one.
type Source interface {
	Copy(ctx context.Context, to io.Writer) error
}

// Reporter is what a [Source] is that can also say how the node is.
type Reporter interface {
	// Report writes a report, as JSON.
	Report(ctx context.Context, to io.Writer) error
}

// Server serves a socket.
type Server struct {
	path     string
	source   Source
	listener *net.UnixListener
	ctx      context.Context // ends with Close
	cancel   context.CancelFunc
	wg       sync.WaitGroup
	once     sync.Once
	err      error
}

// Listen serves a socket until Close. A source that is a [Reporter] is asked how the node is too, and one that is a [Rotator] for
// other keys. Whoever calls it holds the lock of the state: a socket that is there is one that a process which was killed has
// left, and is replaced.
func Listen(path string, source Source) (*Server, error) {
	listener, err := listen(path)
	if err != nil {
		return nil, fmt.Errorf("control socket %s: %w", path, err)
	}
	s := &Server{path: path, source: source, listener: listener}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.wg.Go(s.accept)
	return s, nil
}

// listen makes a socket that has its name only when it has its mode.
func listen(path string) (_ *net.UnixListener, err error) {
	fresh := path + ".new"
	for _, name := range []string{path, fresh} {
		if err := removeSocket(name); err != nil {
			return nil, err
		}
	}
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: fresh, Net: "unix"})
	if err != nil && len(fresh) > shortPath {
		return nil, fmt.Errorf("%w: a path of %d bytes may be too long for a socket: use a directory with a shorter one", err, len(path))
	}
	if err != nil {
		return nil, err
	}
	listener.SetUnlinkOnClose(false)
	if err = os.Chmod(fresh, socketMode); err == nil {
		err = os.Rename(fresh, path)
	}
	if err != nil {
		return nil, errors.Join(err, listener.Close(), removeSocket(fresh))
	}
	return listener, nil
}

func removeSocket(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode().Type() != fs.ModeSocket:
		return errors.New("something else has that name: move it away")
	}
	return os.Remove(path)
}

// Close ends what is under way, removes the socket and waits. It may be called more than once.
func (s *Server) Close() error {
	s.once.Do(func() {
		s.cancel()
		s.err = errors.Join(removeSocket(s.path), s.listener.Close())
	})
	s.wg.Wait()
	return s.err
}

func (s *Server) accept() {
	slots := make(chan struct{}, maxConns)
	for {
		slots <- struct{}{}
		conn, err := s.listener.Accept()
		if err != nil {
			if s.ctx.Err() != nil {
				return
			}
			select { // too many open files, perhaps, which may pass
			case <-time.After(100 * time.Millisecond):
			case <-s.ctx.Done():
				return
			}
			<-slots
			continue
		}
		s.wg.Go(func() {
			defer func() { <-slots }()
			s.serve(conn)
		})
	}
}

// serve answers one request. What goes wrong with the connection, the other side knows as well.
func (s *Server) serve(conn net.Conn) {
	defer conn.Close()
	defer context.AfterFunc(s.ctx, func() { conn.Close() })()
	patient := patientConn{conn}
	var r request
	line, err := readLine(bufio.NewReaderSize(patient, maxLine))
	if err == nil {
		r, err = parseRequest(line)
	}
	switch {
	case err != nil:
		_ = writeLine(patient, answer{Version: protocolVersion, Error: err.Error()})
	case r.Verb == verbRotateKey, r.Verb == verbOverlapKey, r.Verb == verbEndOverlap:
		_ = writeLine(patient, s.changeKeys(r))
	case r.Verb == verbStatus:
		s.report(patient)
	default:
		s.send(patient, s.source.Copy)
	}
}

// report sends how the node is.
func (s *Server) report(patient patientConn) {
	if reporter, ok := s.source.(Reporter); ok {
		s.send(patient, reporter.Report)
	} else {
		_ = writeLine(patient, answer{Version: protocolVersion, Error: "this node does not say how it is"})
	}
}

// send sends what is written in pieces.
func (s *Server) send(patient patientConn, write func(context.Context, io.Writer) error) {
	if writeLine(patient, answer{Version: protocolVersion}) != nil {
		return
	}
	pieces := pieceWriter{patient}
	last := answer{Version: protocolVersion}
	if err := write(s.ctx, pieces); err != nil {
		last.Error = err.Error()
	}
	if pieces.end() == nil {
		_ = writeLine(patient, last)
	}
}

// patientConn waits for the other side only so long, each time.
type patientConn struct{ net.Conn }

func (c patientConn) Read(b []byte) (int, error) {
	if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return 0, err
	}
	return c.Conn.Read(b)
}

func (c patientConn) Write(b []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(patience)); err != nil {
		return 0, err
	}
	return c.Conn.Write(b)
}
