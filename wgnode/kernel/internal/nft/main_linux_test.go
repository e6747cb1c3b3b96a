package nft

import (
	"os"
	"testing"

	"github.com/waylume/waylume/internal/testutil/netns"
)

func TestMain(m *testing.M) { os.Exit(netns.Main(m)) }
