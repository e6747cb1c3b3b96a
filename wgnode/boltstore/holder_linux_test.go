package boltstore

import (
	"fmt"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestHolderIn(t *testing.T) {
	table := fmt.Sprintf(`1: POSIX  ADVISORY  WRITE %[1]d fd:00:131 0 EOF
2: FLOCK  ADVISORY  WRITE 0 fd:00:132 0 EOF
2: -> FLOCK  ADVISORY  WRITE %[1]d fd:00:133 0 EOF
3: FLOCK  ADVISORY  READ %[1]d fd:00:134 0 EOF
4: FLOCK  ADVISORY  WRITE 2147483647 fd:00:135 0 EOF
nonsense
`, os.Getpid())
	for _, file := range []string{"fd:00:131", "fd:00:132", "fd:00:133", "fd:00:1", "WRITE"} {
		require.Zero(t, holderIn(table, file), file)
	}
	require.Equal(t, Process{os.Getpid(), "boltstore.test"}, holderIn(table, "fd:00:134"))
	require.Equal(t, "process 2147483647", holderIn(table, "fd:00:135").String(), "one that is gone")
	require.Equal(t, "a?[2Jb?", printable("a\x1b[2Jb\n"))
}
