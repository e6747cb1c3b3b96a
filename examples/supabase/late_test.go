package supabase_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/internal/testutil/edge"
)

// A function that was stopped after it read whose a session is asks no node any more: the session may have been moved, and the node
// may have forgotten by now that it had to let go of it.
func TestNodesAreNotAskedForWhatWasReadTooLongAgo(t *testing.T) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	var asked atomic.Int32
	node := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		w.WriteHeader(http.StatusCreated)
	}))
	defer node.Close()
	cmd := edge.Command(t, "", "run", "--allow-env", "--allow-net="+strings.TrimPrefix(node.URL, "http://"), "late.ts", node.URL,
		"0", "20000", "61000", "3600000", "-3600000")
	cmd.Env = append(cmd.Env,
		"WAYLUME_SIGNING_KEY="+base64.StdEncoding.EncodeToString(pkcs8(t, private)), "WAYLUME_SIGNING_KEY_ID="+edge.KeyID)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, stderr.String())
	require.Equal(t, []string{"201", "201", "too", "late", "too", "late", "too", "late"}, strings.Fields(string(out)))
	require.EqualValues(t, 2, asked.Load())
}
