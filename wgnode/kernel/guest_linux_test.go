package kernel_test

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/wgnode/kernel"
	"github.com/waylume/waylume/wgnode/kernel/internal/guest"
	"github.com/waylume/waylume/wgnode/kernel/internal/nft"
	"github.com/waylume/waylume/wgnode/kernel/internal/rules"
	"github.com/waylume/waylume/wgnode/wgnodetest/conformance"
)

// Peers' packets cross beside every firewall, which they do not when it is left as it is. Who closes leaves it as it was.
func TestGuests(t *testing.T) {
	for _, name := range guests() {
		t.Run(name, func(t *testing.T) {
			g := newGuestRig(t, name)
			before := lookAtHost(t)
			for _, leave := range []bool{true, false} {
				g.cfg.LeaveFirewalls = leave
				dp, peer, _ := g.start(t)
				requireBrought(t, dp)
				if leave {
					for _, to := range append(g.servers, g.other) {
						require.Error(t, exchange(g.ctx, peer, "udp", to, briefly))
						require.False(t, g.Left(to.Addr()))
					}
				} else {
					g.requireOpen(t, peer)
				}
				g.away()
				require.NoError(t, g.close())
				requireSameHost(t, before)
			}
		})
	}
}

// What a user refuses stays refused, wherever the firewall has its place for that; and what has opened the way is put there
// again when the firewall was loaded anew.
func TestGuestsChange(t *testing.T) {
	for _, name := range guests() {
		t.Run(name, func(t *testing.T) {
			g := newGuestRig(t, name)
			before := guestTables(t)
			dp, peer, addr := g.start(t)
			requireBrought(t, dp)
			require.NoError(t, exchange(g.ctx, peer, "udp", g.other, guestPatience))

			refuse(t, name, addr, g.other.Addr())
			requireBrought(t, dp)
			require.Error(t, exchange(g.ctx, peer, "udp", g.other, briefly))
			g.requireOpen(t, peer)

			deleteGuestTables(t)
			loadClosedGuest(t, name)
			requireBrought(t, dp)
			g.requireOpen(t, peer)
			require.NoError(t, exchange(g.ctx, peer, "udp", g.other, guestPatience))
			g.away()
			require.NoError(t, g.close())
			require.Equal(t, before, guestTables(t))
		})
	}
}

// What a process keeps in another firewall when it closes goes when the next one is to leave that alone.
func TestGuestsKept(t *testing.T) {
	g := newGuestRig(t, "strict")
	before := guestTables(t)
	g.cfg.KeepOnClose = true
	dp, _, _ := g.start(t)
	requireBrought(t, dp)
	g.away()
	require.NoError(t, g.close())
	require.NotEqual(t, before, guestTables(t))
	g.cfg.KeepOnClose, g.cfg.LeaveFirewalls = false, true
	dp, _, _ = g.start(t)
	requireBrought(t, dp)
	require.Equal(t, before, guestTables(t))
}

// requireBrought makes sure that the way is open, and that this needs nothing more.
func requireBrought(t *testing.T, dp *kernel.Dataplane) {
	t.Helper()
	_, err := dp.BringGuests()
	require.NoError(t, err)
	notes, err := dp.BringGuests()
	require.NoError(t, err)
	require.Empty(t, notes)
	intact, err := dp.GuestsIntact()
	require.NoError(t, err)
	require.True(t, intact)
}

// refuse drops what goes from one address to another where users of that firewall do it.
func refuse(t *testing.T, name string, from, to netip.Addr) {
	t.Helper()
	commands := map[string]string{
		"docker":    "iptables-nft -I DOCKER-USER -s %v -d %v -j DROP",
		"ufw":       "iptables-nft -A ufw-user-forward -s %v -d %v -j DROP",
		"firewalld": "nft add rule inet firewalld filter_FWD_public_deny ip saddr %v ip daddr %v drop",
		"strict":    "nft add rule inet filter forward ip saddr %v ip daddr %v drop",
	}
	output(t, strings.Fields(fmt.Sprintf(commands[name], from, to))...)
}

// guestTables lists the tables that are not ours.
func guestTables(t *testing.T) map[string]string {
	t.Helper()
	tables := make(map[string]string)
	for line := range strings.Lines(output(t, "nft", "list", "tables")) {
		if f := strings.Fields(line); !strings.HasPrefix(f[2], rules.Prefix) {
			tables[line] = output(t, "nft", "--stateless", "list", "table", f[1], f[2])
		}
	}
	return tables
}

func deleteGuestTables(t *testing.T) {
	t.Helper()
	for line := range guestTables(t) {
		f := strings.Fields(line)
		output(t, "nft", "delete", "table", f[1], f[2])
	}
}

// WireGuard's own packets come in beside every firewall.
func TestGuestsInput(t *testing.T) {
	const port, ssh = 40000, 22
	for _, name := range guests() {
		t.Run(name, func(t *testing.T) {
			g := newGuestRig(t, name)
			c, err := nft.Dial()
			require.NoError(t, err)
			defer c.Close()
			for _, host := range g.HostAddrs() {
				l, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(host, port)))
				require.NoError(t, err)
				defer l.Close()
				after, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(netip.AddrPortFrom(host, ssh)))
				require.NoError(t, err)
				defer after.Close()
				// What is sent first has been judged when a connection to a port that all firewalls leave open is there.
				arrives := func() bool {
					to := netip.AddrPortFrom(host, port)
					require.NoError(t, send(g.ctx, g.internet, to))
					conn, err := g.internet.Dial(g.ctx, "tcp", netip.AddrPortFrom(host, ssh))
					require.NoError(t, err)
					defer conn.Close()
					require.NoError(t, l.SetReadDeadline(time.Now().Add(briefly)))
					_, err = l.Read(make([]byte, 100))
					return err == nil
				}
				require.Equal(t, name == "docker", arrives())
				_, err = guest.Ensure(c, "wl0", port)
				require.NoError(t, err)
				require.True(t, arrives())
				require.NoError(t, guest.Remove(c, "wl0"))
				require.Equal(t, name == "docker", arrives())
			}
		})
	}
}

func send(ctx context.Context, s *conformance.Stack, to netip.AddrPort) error {
	conn, err := s.Dial(ctx, "udp", to)
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = conn.Write([]byte("hello"))
	return err
}
