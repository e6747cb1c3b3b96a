package crashtest

import (
	"flag"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// How many processes each test kills, unless -kills says so, and the seed of all chance; 0 is another one each time.
var (
	killsFlag = flag.Int("kills", 0, "how many processes each test kills; 0: what CI has time for")
	seedFlag  = flag.Uint64("seed", 0, "decides what is asked and when processes are killed; 0: another each time")
)

// What CI has time for.
const (
	killsInUserspace = 200
	killsInKernel    = 40
	killsInModule    = 6
)

// TestUserspace kills nodes of package userspace, which need no privilege.
func TestUserspace(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no SIGKILL")
	}
	f := new(flows)
	s, err := newSocket(f)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	o := order{Dataplane: inUserspace, Internet: s.conn.LocalAddr().String()}
	runCampaigns(t, plain{}, o, s, portsInUserspace, f, killsInUserspace)
}

// plain is a dataplane of which nothing is left.
type plain struct{}

func (plain) keeps() kept             { return keptByStore }
func (plain) inspect(*contents) error { return nil }
func (plain) inspectGrave(bool) error { return nil }
func (plain) forget()                 {}

// Ports that a peer sends from. Each is a socket of package userspace's, while package kernel may carry what a batch has of one
// as one super-packet, and counts it with fewer headers: there are more than a batch is long (conn.IdealBatchSize).
const (
	portsInUserspace = 16
	portsInKernel    = 160
)

// killsOfCampaign is how many nodes of one state are killed: then comes one that has none.
const killsOfCampaign = 40

func runCampaigns(t *testing.T, s site, o order, n internet, ports uint16, f *flows, kills int) {
	t.Helper()
	if *killsFlag > 0 {
		kills = *killsFlag
	}
	seed := *seedFlag
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	total := newSummary()
	defer func() { t.Logf("%v", total) }()
	for i := uint64(0); total.kills < kills; i++ {
		c, err := newCampaign(s, o, n, ports, f, seed+i, t.TempDir(), total)
		require.NoError(t, err)
		most := min(kills-total.kills, killsOfCampaign)
		require.NoError(t, c.run(most), "to see it again: go test ./wgnode/crashtest -run %s -args -kills %d -seed %d", t.Name(), most, seed+i)
	}
}
