package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestExample(t *testing.T) {
	var out strings.Builder
	require.NoError(t, run(t.Context(), &out))
	require.Regexp(t, `(?s)percent=80.*cap-reached.*top-up.*cap-reached.*used (31[0-9]{5}) of 3145728 bytes`, out.String())
}
