package daemontest

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/internal/testutil"
)

// TestForeignState has root start on another user's state: it is told so at once, and not when the first log needs a new file.
func TestForeignState(t *testing.T) {
	testutil.RequireRoot(t)
	s := newSite(t, nil)
	d := s.start(t)
	d.stop(t)
	require.NoError(t, filepath.WalkDir(s.path("state"), func(path string, _ os.DirEntry, err error) error {
		require.NoError(t, err)
		return os.Lchown(path, 65534, 65534)
	}))
	d = s.launch(t)
	require.Equal(t, 1, d.wait(t))
	require.Contains(t, d.log.String(), "is another user's")
	require.NoError(t, os.Chown(s.path("state"), 0, 0))
}
