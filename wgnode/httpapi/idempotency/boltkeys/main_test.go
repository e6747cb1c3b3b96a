package boltkeys_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/waylume/waylume/wgnode/httpapi/idempotency"
	"github.com/waylume/waylume/wgnode/httpapi/idempotency/boltkeys"
)

// childVariable has the test binary do, as a process of its own, what one of children is named after.
const childVariable = "BOLTKEYS_TEST_CHILD"

func TestMain(m *testing.M) {
	if name := os.Getenv(childVariable); name != "" {
		children := map[string]func([]string) error{"hold": hold, "serve": serve}
		if err := children[name](os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

var ctx = context.Background()

func newPath(t testing.TB) string { return filepath.Join(t.TempDir(), "keys.db") }

func open(t require.TestingT, path string) *boltkeys.Store {
	s, err := boltkeys.Open(path, boltkeys.Options{Strict: true})
	require.NoError(t, err)
	return s
}

func entries(t require.TestingT, s idempotency.Store) map[idempotency.ID]idempotency.Entry {
	all := make(map[idempotency.ID]idempotency.Entry)
	for e, err := range s.Load(ctx) {
		require.NoError(t, err)
		all[e.ID] = e
	}
	return all
}
