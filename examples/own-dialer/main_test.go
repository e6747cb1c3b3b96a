package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestExample(t *testing.T) {
	var out strings.Builder
	require.NoError(t, run(t.Context(), &out))
	require.Equal(t, "tcp 10.0.0.2 -> 192.0.2.80:80\n200 OK: you asked 192.0.2.80 for /hello\n", out.String())
}
