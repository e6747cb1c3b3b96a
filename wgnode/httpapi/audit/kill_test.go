package audit_test

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/wgnode/httpapi/audit"
)

// killedDir names the log in the environment of the process that is to be killed.
const killedDir = "WAYLUME_AUDIT_KILLED_DIR"

// TestAppendUntilKilled is the process: 8 goroutines append, and say what was acknowledged.
func TestAppendUntilKilled(t *testing.T) {
	dir := os.Getenv(killedDir)
	if dir == "" {
		t.Skip("it is for TestKill to start")
	}
	l := open(t, dir, audit.Options{SegmentSize: audit.MinSegmentSize})
	var all sync.WaitGroup
	for g := range 8 {
		all.Go(func() {
			for i := 0; ; i++ {
				op := fmt.Sprintf("%d-%d-%d", os.Getpid(), g, i)
				c, err := l.Begin(t.Context(), audit.Entry{Operation: op})
				if err == nil {
					fmt.Printf("begun %s %d\n", op, c.Sequence())
					err = c.End(t.Context(), audit.Result{})
				}
				if err != nil {
					fmt.Println("failed", err)
					return
				}
				fmt.Printf("ended %s %d\n", op, c.Sequence())
			}
		})
	}
	all.Wait()
}

// TestKill kills the process at any moment, again and again: what was acknowledged is in the log, and the log is whole.
func TestKill(t *testing.T) {
	dir := t.TempDir()
	begun, ended := make(map[string]uint64), make(map[uint64]bool)
	for range 12 {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestAppendUntilKilled$", "-test.v")
		cmd.Env = append(os.Environ(), killedDir+"="+dir)
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		lines := bufio.NewReader(out)
		line, err := lines.ReadString('\n')
		for err == nil && !strings.HasPrefix(line, "begun") {
			require.NotContains(t, line, "FAIL")
			line, err = lines.ReadString('\n')
		}
		timer := time.AfterFunc(time.Duration(rand.IntN(60_000))*time.Microsecond, func() { _ = cmd.Process.Kill() })
		for ; err == nil; line, err = lines.ReadString('\n') {
			words := strings.Fields(line)
			require.Len(t, words, 3, line)
			n, bad := strconv.ParseUint(words[2], 10, 64)
			require.NoError(t, bad)
			switch words[0] {
			case "begun":
				begun[words[1]] = n
			case "ended":
				ended[n] = true
			default:
				require.Fail(t, line)
			}
		}
		require.ErrorIs(t, err, io.EOF)
		timer.Stop()
		require.ErrorContains(t, cmd.Wait(), "killed")
		verify(t, dir, audit.VerifyOptions{})
	}
	require.NotEmpty(t, ended)
	l := open(t, dir, audit.Options{})
	require.NoError(t, l.Close())
	r := verify(t, dir, audit.VerifyOptions{})
	intents, results := make(map[string]uint64), make(map[uint64]bool)
	for _, r := range records(t, dir) {
		switch r.Kind {
		case audit.KindIntent:
			intents[r.Operation] = r.Sequence
		case audit.KindResult:
			results[r.Of] = true
		}
	}
	for op, n := range begun {
		require.Equal(t, n, intents[op], op)
	}
	for n := range ended {
		require.True(t, results[n], "result of %d", n)
	}
	require.Len(t, r.Unknown, len(intents)-len(results))
	t.Logf("%d changes acknowledged, %d of them ended, %d unknown, %d segments", len(begun), len(ended), len(r.Unknown), r.Segments)
}
