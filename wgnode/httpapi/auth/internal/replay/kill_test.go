package replay

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// childVariable has the journal of a process that uses tokens until it is killed.
const childVariable = "WAYLUME_TEST_USED_TOKENS"

func TestMain(m *testing.M) {
	if path := os.Getenv(childVariable); path != "" {
		if err := useUntilKilled(path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// useUntilKilled uses one token after another, a second for every tenth, and says so of each after it was accepted.
func useUntilKilled(path string) error {
	j, err := OpenJournal(path, "a", window, 0, 5)
	if err != nil {
		return err
	}
	c := New(1<<20, j, time.Unix(0, 0))
	for n := 0; ; n++ {
		now := int64(n / 10)
		if err := c.Use(id(n), time.Unix(now, 0), now+window); err != nil {
			return err
		}
		if _, err := fmt.Println(n); err != nil {
			return err
		}
	}
}

// Whatever a process that is killed has accepted, the next one knows.
func TestKill(t *testing.T) {
	for round := range 5 {
		path := filepath.Join(t.TempDir(), "used")
		child := exec.CommandContext(t.Context(), os.Args[0])
		child.Env = append(os.Environ(), childVariable+"="+path)
		child.Stderr = os.Stderr
		out, err := child.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, child.Start())
		last := -1
		killAt := 500 + 777*round // some beyond the change from one file to the other
		for lines := bufio.NewScanner(out); lines.Scan(); {
			var n int
			if _, err := fmt.Sscan(lines.Text(), &n); err != nil {
				break // a line that was cut short
			}
			if last = n; n == killAt {
				require.NoError(t, child.Process.Kill())
			}
		}
		require.ErrorContains(t, child.Wait(), "killed")
		require.GreaterOrEqual(t, last, killAt)

		now := int64(last / 10)
		j := open(t, path, "a", now)
		require.Zero(t, j.Floor())
		c := New(1<<20, j, time.Unix(now, 0))
		for n := max(last-10*window+10, 0); n <= last; n++ {
			require.ErrorIs(t, c.Use(id(n), time.Unix(now, 0), int64(n/10)+window), ErrUsed, n)
		}
		require.NoError(t, c.Close())
	}
}
