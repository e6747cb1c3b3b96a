package up

import (
	"io"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/cmd/waylumed/internal/console"
	"github.com/waylume/waylume/usagelog"
)

func TestUsageSettings(t *testing.T) {
	s := settings("x")
	s.UsageLog, s.UsageRetention = "7m", "12h"
	_, err := s.plan()
	require.ErrorContains(t, err, "--usage-retention: is 12h: give 1d to 3660d")
	require.ErrorContains(t, err, "--usage-log: is 7m0s: it must be 1m0s to 24h0m0s and divide an hour or a day")
	s.UsageLog, s.UsageRetention = "0", "soon"
	_, err = s.plan()
	require.ErrorContains(t, err, "--usage-log: is 0: give a time, or none for no log")
	require.ErrorContains(t, err, `--usage-retention: "soon" is not a duration`)
}

// A usage log that another process writes, and one that cannot be, keep a node from starting, and leave nothing open.
func TestUsageLogInUse(t *testing.T) {
	s := settings(t.TempDir())
	_, stop := runUp(t, s, nil)
	stop()
	log, err := usagelog.Open(filepath.Join(s.State, "usage"), usagelog.Options{})
	require.NoError(t, err)
	err = Run(t.Context(), Options{Settings: s, Out: console.New(io.Discard, nil)})
	require.ErrorIs(t, err, usagelog.ErrLocked)
	require.ErrorContains(t, err, "To run without a log of usage, say --usage-log none")
	s.UsageLog = "none"
	_, stop = runUp(t, s, nil)
	require.Contains(t, stop(), "Usage log    none")
	require.NoError(t, log.Close())
}
