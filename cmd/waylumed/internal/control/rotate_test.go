package control

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// rotator has keys that follow each other, or fails.
type rotator struct {
	source
	rotate func(ctx context.Context) (Keys, error)
	ends   time.Time // of an overlap of an hour
}

func (r rotator) RotateKey(ctx context.Context, overlap time.Duration) (Keys, error) {
	keys, err := r.rotate(ctx)
	if overlap == time.Hour {
		keys.OverlapEnds = r.ends
	}
	return keys, err
}

func (r rotator) EndKeyOverlap(context.Context) (Keys, error) {
	return Keys{Public: "new", Former: "ended"}, nil
}

func TestRotateKey(t *testing.T) {
	path := socketPath(t)
	_, err := RotateKey(t.Context(), path, 0)
	require.ErrorIs(t, err, ErrNobody)
	var fault error
	was, ends := Keys{Public: "new", Former: "old"}, time.Unix(2e9, 0).UTC()
	server := serve(t, path, rotator{rotate: func(context.Context) (Keys, error) { return was, fault }, ends: ends})
	keys, err := RotateKey(t.Context(), path, 0)
	require.NoError(t, err)
	require.Equal(t, was, keys)
	keys, err = RotateKey(t.Context(), path, time.Hour)
	require.NoError(t, err)
	require.Equal(t, Keys{"new", "old", ends}, keys)
	_, err = RotateKey(t.Context(), path, -time.Hour)
	require.ErrorContains(t, err, `"-1h0m0s" is no overlap`)
	keys, err = EndKeyOverlap(t.Context(), path)
	require.NoError(t, err)
	require.Equal(t, Keys{Public: "new", Former: "ended"}, keys)
	require.JSONEq(t, `{"version":1,"keys":{"public":"new","former":"old"}}`, askRaw(t, path, `{"version":1,"verb":"rotate-key"}`+"\n"))
	require.JSONEq(t, `{"version":1,"keys":{"public":"new","former":"old","overlap_ends":"2033-05-18T03:33:20Z"}}`,
		askRaw(t, path, `{"version":1,"verb":"rotate-key-with-overlap","overlap":"1h"}`+"\n"))
	fault = errors.New("the disk is full")
	_, err = RotateKey(t.Context(), path, 0)
	require.ErrorContains(t, err, "control socket "+path+": the disk is full")
	require.NoError(t, server.Close())

	serve(t, path, source{})
	_, err = RotateKey(t.Context(), path, 0)
	require.ErrorContains(t, err, "this node's key cannot be changed")
}

// TestCloseInRotation closes the server while a node changes its key: what the node does is given up, and the client told.
func TestCloseInRotation(t *testing.T) {
	path, begun := socketPath(t), make(chan struct{})
	server := serve(t, path, rotator{rotate: func(ctx context.Context) (Keys, error) {
		close(begun)
		<-ctx.Done()
		return Keys{}, ctx.Err()
	}})
	failed := make(chan error, 1)
	go func() {
		_, err := RotateKey(t.Context(), path, 0)
		failed <- err
	}()
	<-begun
	require.NoError(t, server.Close())
	require.Error(t, <-failed)
}

// TestClientLeavesInRotation asks and goes away: the node goes on.
func TestClientLeavesInRotation(t *testing.T) {
	path, begun, proceed, done := socketPath(t), make(chan struct{}), make(chan struct{}), make(chan error, 1)
	serve(t, path, rotator{rotate: func(ctx context.Context) (Keys, error) {
		close(begun)
		<-proceed
		done <- ctx.Err()
		return Keys{}, nil
	}})
	conn, err := net.Dial("unix", path)
	require.NoError(t, err)
	require.NoError(t, writeLine(conn, request{Version: protocolVersion, Verb: verbRotateKey}))
	<-begun
	require.NoError(t, conn.Close())
	close(proceed)
	require.NoError(t, <-done)
}

func TestKeysOfAnotherServer(t *testing.T) {
	for line, want := range map[string]string{
		"":                                       "unexpected EOF",
		"{\"version\":1}\n":                      "does not say which keys",
		"{\"version\":2,\"keys\":{}}\n":          "version 2",
		"{\"version\":1,\"keys\":7}\n":           "malformed",
		"{\"version\":1,\"error\":\"closed\"}\n": "closed",
	} {
		_, err := readKeys(strings.NewReader(line))
		require.ErrorContains(t, err, want, line)
	}
}
