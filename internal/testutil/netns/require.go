package netns

import (
	"errors"
	"os"
	"testing"

	"github.com/waylume/waylume/internal/testutil"
)

const (
	// stateVariable is what Main knows, for the process that it starts and for Require.
	stateVariable = "WAYLUME_TEST_NETNS"
	// inside is its value in a namespace of Main's; any other says why there is none.
	inside = "inside"
)

// Require ends the test as [testutil.Require] does unless it runs in a namespace that [Main] made.
func Require(tb testing.TB) {
	tb.Helper()
	testutil.Require(tb, lack())
}

func lack() error {
	switch state := os.Getenv(stateVariable); state {
	case inside:
		return nil
	case "":
		return errors.New("needs a network namespace of its own: a TestMain that calls netns.Main")
	default:
		return errors.New(state)
	}
}
