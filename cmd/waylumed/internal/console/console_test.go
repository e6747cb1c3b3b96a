package console

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestPlain(t *testing.T) {
	var out bytes.Buffer
	c := New(&out, nil)
	require.False(t, c.Terminal)
	require.Equal(t, "x", c.Paint(Red, "x"))
	s := NewStatus(c)
	s.Begin("one")
	s.Begin("two")
	s.Again("two", "too slow")
	s.End("two", "fine", true)
	s.End("one", "bad", false)
	s.Close()
	s.Close()
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	require.Len(t, lines, 3)
	require.Contains(t, lines[0], "once more: too slow")
	require.Regexp(t, `^✓ .* s  two +fine$`, lines[1])
	require.Regexp(t, `^✗ .* s  one +bad$`, lines[2])
	require.NotContains(t, out.String(), "\x1b")
}

func TestTerminal(t *testing.T) {
	var out bytes.Buffer
	s := NewStatus(Console{Writer: &out, Terminal: true, Colour: true, Width: 20})
	s.Begin("a part with a long name")
	s.End("a part with a long name", "done", true)
	s.Begin("more")
	s.Close()
	require.Contains(t, out.String(), "\x1b[32m✓\x1b[0m")
	require.True(t, strings.HasSuffix(out.String(), "\r\x1b[K"), "the moving line is taken away")
	moving, _, _ := strings.Cut(out.String(), "\x1b[0m")
	require.LessOrEqual(t, len([]rune(strings.TrimPrefix(moving, "\r\x1b[2m"))), 19, "it fits the terminal")
}
