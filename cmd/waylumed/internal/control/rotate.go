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

// Keys are a node's public keys in base64.
type Keys struct {
	// Public is what it has now, Former what it had before; after the end of an overlap, what that was of, or empty if there was none.
	Public string `json:"public"`
	Former string `json:"former"`
	// OverlapEnds is until when clients may know the node by Former; zero: not at all.
	OverlapEnds time.Time `json:"overlap_ends,omitzero"`
}

// Rotator is a [Source] whose node can be given another key.
type Rotator interface {
	// RotateKey gives the node a new key, with an overlap or, if that is 0, without.
	RotateKey(ctx context.Context, overlap time.Duration) (Keys, error)
	EndKeyOverlap(ctx context.Context) (Keys, error)
}

// changeKeys does what a client asks for, and is what he is answered. That he goes away meanwhile changes nothing.
func (s *Server) changeKeys(r request) answer {
	rotator, ok := s.source.(Rotator)
	if !ok {
		return answer{Version: protocolVersion, Error: "this node's key cannot be changed"}
	}
	ctx, cancel := context.WithTimeout(s.ctx, rotationTime)
	defer cancel()
	overlap, err := r.overlap()
	var keys Keys
	switch {
	case err != nil:
	case r.Verb == verbEndOverlap:
		keys, err = rotator.EndKeyOverlap(ctx)
	default:
		keys, err = rotator.RotateKey(ctx, overlap)
	}
	if err != nil {
		return answer{Version: protocolVersion, Error: err.Error()}
	}
	return answer{Version: protocolVersion, Keys: &keys}
}

// RotateKey asks the node that serves a socket to take another key, with an overlap unless that is 0, and returns the public
// ones. An error that matches [ErrNobody] says that no node was asked.
func RotateKey(ctx context.Context, socket string, overlap time.Duration) (Keys, error) {
	if overlap == 0 {
		return askKeys(ctx, socket, request{Version: protocolVersion, Verb: verbRotateKey})
	}
	return askKeys(ctx, socket, request{Version: protocolVersion, Verb: verbOverlapKey, Overlap: overlap.String()})
}

// EndKeyOverlap asks the node that serves a socket to end the overlap of its keys, if there is one. Errors are those of RotateKey.
func EndKeyOverlap(ctx context.Context, socket string) (Keys, error) {
	return askKeys(ctx, socket, request{Version: protocolVersion, Verb: verbEndOverlap})
}

func askKeys(ctx context.Context, socket string, r request) (keys Keys, err error) {
	err = connect(ctx, socket, func(conn patientConn) error {
		if err := writeLine(conn, r); err != nil {
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
