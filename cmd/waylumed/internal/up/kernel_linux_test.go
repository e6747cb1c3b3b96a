package up

import (
	"net"
	"net/netip"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/cmd/waylumed/internal/host"
	"github.com/waylume/waylume/internal/testutil"
	"github.com/waylume/waylume/internal/testutil/netns"
)

// A node on the kernel's dataplane: a stock client fetches a page from another host, by the name that the choice has of it,
// and with the end of the node nothing is left of it.
func TestKernelDataplane(t *testing.T) {
	netns.Require(t)
	testutil.RequireTool(t, "nft", "nftables")
	const page = 50_000
	far := farWebsite(t, page)
	before := lookAround(t)

	s := settings(t.TempDir())
	s.Dataplane, s.Uplink = host.Auto, far
	shown, stop := runUp(t, s, nil)
	text := shown.String()
	require.Contains(t, text, "Dataplane    kernel, with interface waylume0")
	require.NotContains(t, text, "without privilege")
	require.Equal(t, int64(page), fetch(t, connect(t, text)))
	shown.waitFor(t, "first connected from 127.0.0.1:")
	running := lookAround(t)
	require.Contains(t, running.links, s.Interface)
	require.NotEqual(t, before.ruleset, running.ruleset)
	// Segments that the kernel merged have one header: 48.8 KiB is the page alone.
	require.Regexp(t, `first        received (49|5\d)\.\d KiB`, stop())
	require.Equal(t, before, lookAround(t))

	// A second run finds its peer and what it used.
	s.Dataplane = host.Kernel
	shown, stop = runUp(t, s, nil)
	require.Regexp(t, `│ (49|5\d)\.\d KiB, 0 % │`, shown.String())
	stop()
	require.Equal(t, before, lookAround(t))
}

// farWebsite is another host, which sends a page of a size to whoever connects to where fetch does. It returns the name of the
// link to it.
func farWebsite(t *testing.T, size int) (link string) {
	t.Helper()
	const near = "near0"
	far := netns.New(t)
	netns.Veth(t,
		netns.End{Name: near, Addrs: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/24")}},
		netns.End{Namespace: far, Name: "far0", Addrs: []netip.Prefix{netip.MustParsePrefix("192.0.2.80/24")}})
	var l net.Listener
	far.Do(t, func() (err error) {
		l, err = net.Listen("tcp4", "192.0.2.80:80")
		return err
	})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(2 * time.Second))
				_, _ = c.Write(make([]byte, size))
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		wg.Wait()
	})
	return near
}

// surroundings is what the dataplane changes of a host.
type surroundings struct {
	links      []string
	ruleset    string
	forwarding [2]string
}

func lookAround(t *testing.T) (s surroundings) {
	t.Helper()
	interfaces, err := net.Interfaces()
	require.NoError(t, err)
	for _, i := range interfaces {
		s.links = append(s.links, i.Name)
	}
	out, err := exec.CommandContext(t.Context(), "nft", "--stateless", "list", "ruleset").Output()
	require.NoError(t, err)
	s.ruleset = string(out)
	for i, name := range []string{"ipv4/ip_forward", "ipv6/conf/all/forwarding"} {
		value, err := os.ReadFile("/proc/sys/net/" + name)
		require.NoError(t, err)
		s.forwarding[i] = string(value)
	}
	return s
}
