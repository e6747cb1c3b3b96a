package supabase_test

import (
	"bufio"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/internal/testutil/edge"
)

// Each function is served alone, too, as Supabase starts it: by its index.ts, at its own name.
func TestEachFunctionServesItself(t *testing.T) {
	files, err := filepath.Glob("functions/*/index.ts")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		name := filepath.Base(filepath.Dir(file))
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd := edge.Command(t, "", "run", "--allow-env", "--allow-net=127.0.0.1", filepath.Join("..", file))
			cmd.Env = append(cmd.Env, "DENO_SERVE_ADDRESS=tcp:127.0.0.1:0")
			stdout, err := cmd.StdoutPipe()
			require.NoError(t, err)
			cmd.Stderr = cmd.Stdout // where it says that it listens
			require.NoError(t, cmd.Start())
			late := time.AfterFunc(60*time.Second, func() { _ = cmd.Process.Kill() })
			defer func() {
				late.Stop()
				_ = cmd.Process.Kill()
				_ = cmd.Wait()
			}()
			lines := bufio.NewScanner(stdout)
			require.True(t, lines.Scan(), "it says nothing")
			url, ok := strings.CutPrefix(lines.Text(), "Listening on ")
			require.True(t, ok, lines.Text())
			r, err := http.NewRequestWithContext(t.Context(), http.MethodDelete, url+name, nil)
			require.NoError(t, err)
			response, err := http.DefaultClient.Do(r)
			require.NoError(t, err)
			require.NoError(t, response.Body.Close())
			require.Equal(t, http.StatusMethodNotAllowed, response.StatusCode)
			require.Equal(t, "application/problem+json", response.Header.Get("Content-Type"))
		})
	}
}
