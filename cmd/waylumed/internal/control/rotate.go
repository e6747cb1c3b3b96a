package control

import (
	"bufio"
	"context"
	"errors"
	"io"
	"time"
)

// rotationTime is how long a node may take to change its key, which grows with its peers.
const rotationTime = 2 * time.Minute

// Keys are a node's public keys in base64: what it has now, and what it had before.
type Keys struct {
	Public string `json:"public"`
	Former string `json:"former"`
}

// Rotator is a [Source] whose node can be given another key.
type Rotator interface {
	RotateKey(ctx context.Context) (Keys, error)
}

// rotateKey is what a client is answered who asks for another key. That he goes away meanwhile changes nothing.
func (s *Server) rotateKey() answer {
	rotator, ok := s.source.(Rotator)
	if !ok {
		return answer{Version: protocolVersion, Error: "this node's key cannot be changed"}
	}
	ctx, cancel := context.WithTimeout(s.ctx, rotationTime)
	defer cancel()
	keys, err := rotator.RotateKey(ctx)
	if err != nil {
		return answer{Version: protocolVersion, Error: err.Error()}
	}
	return answer{Version: protocolVersion, Keys: &keys}
}

// RotateKey asks the node that serves a socket to take another key, and returns the public ones. An error that matches
// [ErrNobody] says that no node was asked.
func RotateKey(ctx context.Context, socket string) (keys Keys, err error) {
	err = connect(ctx, socket, func(conn patientConn) error {
		if err := writeLine(conn, request{Version: protocolVersion, Verb: verbRotateKey}); err != nil {
			return err
		}
		if err := conn.SetReadDeadline(time.Now().Add(rotationTime + patience)); err != nil {
			return err
		}
		keys, err = readKeys(conn.Conn)
		return err
	})
	return keys, err
}

func readKeys(from io.Reader) (Keys, error) {
	line, err := readLine(bufio.NewReaderSize(from, maxLine))
	if err != nil {
		return Keys{}, err
	}
	a, err := parseAnswer(line)
	if err == nil && a.Keys == nil {
		err = errors.New("the node does not say which keys it has")
	}
	if err != nil {
		return Keys{}, err
	}
	return *a.Keys, nil
}
