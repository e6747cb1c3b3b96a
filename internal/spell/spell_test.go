package spell

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestSpell(t *testing.T) {
	const rest = time.Minute
	var s Spell
	now := time.Now()
	_, n := s.At(now, rest)
	require.Zero(t, n)
	s.Note(now, rest)
	s.Note(now.Add(rest-1), rest)
	since, n := s.At(now.Add(2*rest-2), rest)
	require.Equal(t, 2, n)
	require.Equal(t, now, since)
	_, n = s.At(now.Add(2*rest-1), rest)
	require.Zero(t, n, "a rest after the last one it is over")
	s.Note(now.Add(3*rest), rest)
	since, n = s.At(now.Add(3*rest), rest)
	require.Equal(t, 1, n, "another one")
	require.Equal(t, now.Add(3*rest), since)
	s.End()
	_, n = s.At(now.Add(3*rest), rest)
	require.Zero(t, n)
}
