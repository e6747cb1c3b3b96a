package up

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"regexp"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/cmd/waylumed/internal/host"
	"github.com/waylume/waylume/internal/testutil"
	"github.com/waylume/waylume/internal/testutil/netns"
)

// neighbour is another host on a link of this one's. It tells whoever connects what address they come from.
type neighbour struct {
	namespace *netns.Namespace
	link      string // this host's, to it
	at        netip.AddrPort
}

// The two ends of the link to a neighbour; the latter has two addresses to come from.
const (
	nearAddr  = "192.0.2.1"
	farAddr   = "192.0.2.80"
	otherAddr = "192.0.2.81"
)

func newNeighbour(t *testing.T) *neighbour {
	t.Helper()
	n := &neighbour{namespace: netns.New(t), link: "near0", at: netip.MustParseAddrPort(farAddr + ":80")}
	netns.Veth(t,
		netns.End{Name: n.link, Addrs: []netip.Prefix{netip.MustParsePrefix(nearAddr + "/24")}},
		netns.End{Namespace: n.namespace, Name: "far0", Addrs: []netip.Prefix{
			netip.MustParsePrefix(farAddr + "/24"), netip.MustParsePrefix(otherAddr + "/24"),
		}})
	var l net.Listener
	n.namespace.Do(t, func() (err error) {
		l, err = net.Listen("tcp4", n.at.String())
		return err
	})
	serve(t, l)
	return n
}

// serve tells whoever connects what address they come from, until the test ends.
func serve(t *testing.T, l net.Listener) {
	t.Helper()
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = fmt.Fprint(c, c.RemoteAddr().(*net.TCPAddr).IP)
			_ = c.Close()
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		wg.Wait()
	})
}

// seenAs is the address that the neighbour sees a peer, or this host with nil, come from.
func (n *neighbour) seenAs(t *testing.T, dial func(string) (net.Conn, error)) string {
	t.Helper()
	c, err := dial(n.at.String())
	require.NoError(t, err)
	defer c.Close()
	require.NoError(t, c.SetReadDeadline(time.Now().Add(10*time.Second)))
	said, err := io.ReadAll(c)
	require.NoError(t, err)
	return string(said)
}

// reaches reports whether the neighbour gets through to a port of this host's from one of its addresses.
func (n *neighbour) reaches(t *testing.T, from string, port int) (ok bool) {
	t.Helper()
	n.namespace.Do(t, func() error {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: 700 * time.Millisecond}
		c, err := d.DialContext(t.Context(), "tcp4", net.JoinHostPort(nearAddr, fmt.Sprint(port)))
		if err == nil {
			ok = true
			return c.Close()
		}
		if !os.IsTimeout(err) {
			return err
		}
		return nil
	})
	return ok
}

// TestKernelFlagsAtWork runs nodes with the flags about the kernel dataplane, and looks at them from another host.
func TestKernelFlagsAtWork(t *testing.T) {
	netns.Require(t)
	testutil.RequireTool(t, "nft", "nftables")
	n := newNeighbour(t)
	netns.AddAddr(t, nil, n.link, netip.MustParsePrefix("192.0.2.9/32"))
	netns.AddRoute(t, n.namespace, "far0", netip.MustParsePrefix("10.0.0.0/8"), netip.MustParseAddr(nearAddr))
	var ports [2]int
	for i := range ports {
		l, err := net.Listen("tcp4", nearAddr+":0")
		require.NoError(t, err)
		serve(t, l)
		ports[i] = l.Addr().(*net.TCPAddr).Port
	}
	firewall := exec.CommandContext(t.Context(), "nft",
		"add table inet mine; add chain inet mine closed { type filter hook forward priority 0; policy drop; }")
	out, err := firewall.CombinedOutput()
	require.NoError(t, err, "%s", out)
	t.Cleanup(func() {
		out, err := exec.Command("nft", "delete", "table", "inet", "mine").CombinedOutput()
		require.NoError(t, err, "%s", out)
	})
	before := lookAround(t)

	s := settings(t.TempDir())
	s.Dataplane, s.Uplink, s.SourceAddrs, s.FirewallMark = host.Kernel, n.link, []string{"192.0.2.9"}, 0xca6c
	s.ControlPorts, s.ControlAllow = []string{fmt.Sprint(ports[0])}, []string{otherAddr}
	shown, stop := runUp(t, s, nil)
	text := shown.String()
	require.Contains(t, text, "Uplink       near0\n  Peers leave  as 192.0.2.9\n")
	require.Contains(t, text, fmt.Sprintf("Control      TCP port %d: only for 192.0.2.81/32 and this host\n", ports[0]))
	peer := connect(t, text)
	dial := func(to string) (net.Conn, error) { return peer.DialContext(t.Context(), "tcp", to) }
	require.Equal(t, "192.0.2.9", n.seenAs(t, dial))
	require.True(t, n.reaches(t, otherAddr, ports[0]))
	require.False(t, n.reaches(t, farAddr, ports[0]))
	require.True(t, n.reaches(t, farAddr, ports[1]))
	stop()
	require.Equal(t, before, lookAround(t))
	require.True(t, n.reaches(t, farAddr, ports[0]))

	// Later runs have the same peer, and another way out.
	s.SourceAddrs, s.ControlPorts, s.ControlAllow, s.NAT, s.NewPeer = nil, nil, nil, noNAT, true
	shown, stop = runUp(t, s, nil)
	require.Contains(t, shown.String(), "NAT          none: the network behind must route")
	peer = connect(t, shown.String())
	require.Equal(t, regexp.MustCompile(`10\.\d+\.\d+\.\d+`).FindString(field(t, shown.String(), "Address")), n.seenAs(t, dial))
	require.Contains(t, firewallOf(t), "accept")
	stop()

	s.LeaveFirewalls = true
	shown, stop = runUp(t, s, nil)
	require.Contains(t, shown.String(), "Limitation")
	require.NotContains(t, firewallOf(t), "accept")
	stop()
	require.Equal(t, before, lookAround(t))
}

// firewallOf is the host's own table, without policies.
func firewallOf(t *testing.T) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "nft", "list", "table", "inet", "mine").Output()
	require.NoError(t, err)
	return string(out)
}
