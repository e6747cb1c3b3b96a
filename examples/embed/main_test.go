package main

import (
	"bufio"
	"context"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestExample(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() {
		done <- run(ctx, w)
		_ = w.Close()
	}()
	var config strings.Builder
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		config.WriteString(lines.Text() + "\n")
		if strings.HasPrefix(lines.Text(), "PersistentKeepalive") {
			break
		}
	}
	require.Regexp(t, `(?s)\[Interface\]\nPrivateKey = .{43}=\nAddress = 10\.0\.0\.2/32, fd.*\[Peer\].*Endpoint = 127\.0\.0\.1:\d+\n`, config.String())
	cancel()
	go func() { _, _ = io.Copy(io.Discard, r) }()
	require.NoError(t, <-done)
}
