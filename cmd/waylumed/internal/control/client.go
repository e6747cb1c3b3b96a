package control

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"syscall"
)

// ErrNobody says that no node serves the socket.
var ErrNobody = errors.New("no node runs there")

// errRefused is WSAECONNREFUSED, which package syscall does not have; elsewhere there is no such number.
const errRefused = syscall.Errno(10061)

// Copy asks the node that serves a socket for a copy of its state, and writes it. An error that matches [ErrNobody] says that
// nothing was written. After any other, what was written is of no use.
func Copy(ctx context.Context, socket string, to io.Writer) error {
	return ask(ctx, socket, verbBackup, to)
}

// Report asks the node that serves a socket how it is, and writes the answer, which is JSON. Errors are those of Copy.
func Report(ctx context.Context, socket string, to io.Writer) error {
	return ask(ctx, socket, verbStatus, to)
}

func ask(ctx context.Context, socket, verb string, to io.Writer) error {
	return connect(ctx, socket, func(conn patientConn) error { return exchange(conn, verb, to) })
}

// connect connects to a socket for one exchange.
func connect(ctx context.Context, socket string, exchange func(patientConn) error) error {
	conn, err := (&net.Dialer{Timeout: patience}).DialContext(ctx, "unix", socket)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, errRefused):
		return fmt.Errorf("%w: %w", ErrNobody, err)
	case err != nil:
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	if err := exchange(patientConn{conn}); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return fmt.Errorf("control socket %s: %w", socket, err)
	}
	return nil
}

// exchange asks, and reads the answer to its end.
func exchange(conn io.ReadWriter, verb string, to io.Writer) error {
	if err := writeLine(conn, request{Version: protocolVersion, Verb: verb}); err != nil {
		return err
	}
	return readAnswer(bufio.NewReaderSize(conn, maxLine), to)
}

// readAnswer reads all that a server sends.
func readAnswer(from *bufio.Reader, to io.Writer) error {
	if err := readStatus(from); err != nil {
		return err
	}
	if err := readPieces(from, to); err != nil {
		return err
	}
	return readStatus(from)
}

func readStatus(from *bufio.Reader) error {
	line, err := readLine(from)
	if err != nil {
		return err
	}
	_, err = parseAnswer(line)
	return err
}
