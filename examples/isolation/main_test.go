package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestExample(t *testing.T) {
	var out strings.Builder
	require.NoError(t, run(t.Context(), &out))
	require.Equal(t, `admin -> camera: open
guest -> camera: closed
admin -> host's loopback: closed
admin -> camera, rule taken back: closed
`, out.String())
}
