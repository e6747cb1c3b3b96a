package guest_test

import (
	"fmt"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/internal/testutil"
	"github.com/waylume/waylume/internal/testutil/netns"
	"github.com/waylume/waylume/wgnode/kernel/internal/guest"
	"github.com/waylume/waylume/wgnode/kernel/internal/nft"
)

const (
	iface = "wl0"
	port  = 51820
)

// places are rulesets in which lines of FORWARD and INPUT stand where our rules are to be put.
func places() map[string]string {
	forward := func(policy, rules string) string {
		return "table inet t {\n chain forward { type filter hook forward priority 0; policy " + policy + ";\n" + rules + "\n}\n}"
	}
	chain := func(name, rules string) string { return "table inet t {\n chain " + name + " {\n" + rules + "\n}\n}\n" }
	return map[string]string{
		"empty, open":        forward("accept", ""),
		"empty, closed":      forward("drop", "FORWARD"),
		"open with refusals": forward("accept", "ip saddr 10.0.0.1 drop\n tcp dport 25 reject\n iifname eth0 drop\n limit rate 1/second drop"),
		"drop at the end":    forward("accept", "ip saddr 10.0.0.1 drop\nFORWARD\ncounter log drop\naccept"),
		"reject at the end":  forward("accept", "ct state established accept\nFORWARD\nreject with icmpx admin-prohibited"),
		"all accepted":       forward("drop", "ip saddr 10.0.0.1 drop\ncounter accept"),
		"default by protocol": forward("drop", "tcp dport 22 reject\n ct state invalid drop\nFORWARD\nmeta l4proto tcp reject with tcp reset\n"+
			"meta pkttype host limit rate 5/second counter reject with icmpx admin-prohibited\n limit rate 3/minute log prefix \"no \"\ncounter"),
		"marks stay first": forward("drop", "meta l4proto tcp reject with tcp reset\n meta mark set 7\nFORWARD\nlog"),
		"jump that closes": chain("shut", "ip saddr 10.0.0.1 drop\nFORWARD\ndrop") + forward("accept", "jump shut"),
		"jump that gives some back": chain("mixed", "fib daddr type local return\ndrop") +
			forward("drop", "jump mixed\n ip saddr 10.0.0.1 drop\nFORWARD"),
		"jump that gives some back by goto": chain("empty", "") + chain("mixed", "tcp dport 1 goto empty\ndrop") +
			forward("drop", "jump mixed\nFORWARD"),
		"jump that accepts": chain("open", "ip saddr 10.0.0.1 drop\naccept") + forward("drop", "jump open"),
		"goto that closes":  chain("shut", "FORWARD\nreject") + forward("accept", "goto shut\naccept"),
		"goto, then policy": chain("most", "ip saddr 10.0.0.1 drop\nFORWARD") + forward("drop", "goto most\naccept"),
		"return":            forward("drop", "FORWARD\nreturn\naccept"),
		"deep": chain("c", "FORWARD\ndrop") + chain("b", "ip saddr 10.0.0.1 drop\njump c") + chain("a", "jump b") +
			forward("accept", "jump a"),
		"refusing chain": chain("logdrop", "limit rate 1/second log\ndrop") +
			forward("accept", "ip saddr 10.0.0.1 jump logdrop\nFORWARD\njump logdrop"),
		"refusing chain for an interface": chain("logdrop", "log\ndrop") +
			forward("accept", "iifname eth0 jump logdrop\nFORWARD\njump logdrop"),
		"zone": chain("zone", "ip saddr 10.0.0.1 drop\n oifname eth0 accept\nFORWARD\nreject") +
			forward("accept", "iifname { eth0, eth1 } goto zone\ngoto zone"),
		"led to from elsewhere": chain("shared", "tcp dport 22 accept\ndrop") +
			"table inet t {\nchain input { type filter hook input priority 0;\nINPUT\njump shared\n}\n}\n" +
			forward("accept", "FORWARD\njump shared"),
		"led to by a map": chain("shut", "ip saddr 10.0.0.1 accept\ndrop") +
			forward("accept", "meta mark vmap { 7 : jump shut }\nFORWARD\njump shut"),
		"input":           "table ip6 t {\nchain i { type filter hook input priority 5; policy drop;\nudp dport 1 drop\nINPUT\n}\n}",
		"other hooks":     "table ip t {\nchain o { type filter hook output priority 0; policy drop;\n}\nchain p { type filter hook prerouting priority 0; policy drop;\n}\n}",
		"other kinds":     "table ip t {\nchain n { type nat hook input priority 0;\n}\n}",
		"dormant":         "table ip t {\nflags dormant\nchain f { type filter hook forward priority 0; policy drop;\n}\n}",
		"two base chains": "table ip t {\nchain f { type filter hook forward priority 0; policy drop;\nFORWARD\n}\nchain g { type filter hook forward priority 5;\nFORWARD\ndrop\n}\n}",
		"another node":    "table inet waylume_wl1 {\nchain f { type filter hook forward priority 0; policy drop;\n}\n}",
	}
}

func TestPlaces(t *testing.T) {
	c := open(t)
	for name, ruleset := range places() {
		t.Run(name, func(t *testing.T) {
			load(t, strings.NewReplacer(
				"FORWARD", "iifname "+iface+" accept\noifname "+iface+" accept", "INPUT", "udp dport 51820 accept").Replace(ruleset))
			want := list(t)
			load(t, strings.NewReplacer("FORWARD", "", "INPUT", "").Replace(ruleset))
			before := list(t)
			intact, err := guest.Intact(c, iface, port)
			require.NoError(t, err)
			require.Equal(t, before == want, intact)

			notes, err := guest.Ensure(c, iface, port)
			require.NoError(t, err)
			require.Equal(t, want, uncommented(list(t)))
			require.Equal(t, before == want, len(notes) == 0)
			requireSettled(t, c)

			require.NoError(t, guest.Remove(c, iface))
			require.Equal(t, before, list(t))
			commits := c.Commits()
			require.NoError(t, guest.Remove(c, iface))
			require.Equal(t, commits, c.Commits())
		})
	}
}

// Rules of ours are moved when what they must stand before or behind has come, and replaced when the port has changed. Those
// of another interface stay, and are in nobody's way.
func TestEnsureMoves(t *testing.T) {
	c := open(t)
	load(t, "table ip t {\nchain f { type filter hook forward priority 0; policy drop;\n}\nchain i { type filter hook input priority 0; policy drop;\n}\n}")
	before := list(t)
	for _, name := range []string{iface, "wl01"} {
		_, err := guest.Ensure(c, name, port)
		require.NoError(t, err)
	}
	requireSettled(t, c)
	output(t, "nft", "add", "rule", "ip", "t", "f", "ip saddr 10.0.0.1 drop")
	output(t, "nft", "insert", "rule", "ip", "t", "i", "drop")
	intact, err := guest.Intact(c, iface, port)
	require.NoError(t, err)
	require.False(t, intact)
	for _, name := range []string{iface, "wl01"} {
		notes, err := guest.Ensure(c, name, port+1)
		require.NoError(t, err)
		require.Len(t, notes, 2)
	}
	const want = `table ip t {
	chain f {
		type filter hook forward priority filter; policy drop;
		ip saddr 10.0.0.1 drop
		iifname "wl0" accept
		oifname "wl0" accept
		iifname "wl01" accept
		oifname "wl01" accept
	}

	chain i {
		type filter hook input priority filter; policy drop;
		udp dport 51821 accept
		udp dport 51821 accept
		drop
	}
}
`
	require.Equal(t, want, uncommented(list(t)))
	for _, name := range []string{iface, "wl01"} {
		notes, err := guest.Ensure(c, name, port+1)
		require.NoError(t, err)
		require.Empty(t, notes)
	}
	for _, name := range []string{iface, "wl01"} {
		require.NoError(t, guest.Remove(c, name))
	}
	output(t, "nft", "flush", "table", "ip", "t")
	require.Equal(t, before, list(t))
}

// iptables-nft lists chains with rules of ours as they are, and they are known again after iptables-save and iptables-restore.
func TestIptables(t *testing.T) {
	c := open(t)
	testutil.RequireTool(t, "iptables-nft", "iptables")
	load(t, "")
	for _, chain := range []string{"INPUT", "FORWARD"} {
		output(t, "iptables-nft", "-P", chain, "DROP")
		output(t, "iptables-nft", "-A", chain, "-s", "10.0.0.1", "-j", "DROP")
		output(t, "iptables-nft", "-A", chain, "-p", "tcp", "-m", "comment", "--comment", "no", "-j", "REJECT", "--reject-with", "tcp-reset")
		output(t, "iptables-nft", "-A", chain, "-j", "REJECT")
	}
	before := output(t, "iptables-nft-save", "-t", "filter")
	_, err := guest.Ensure(c, iface, port)
	require.NoError(t, err)
	requireSettled(t, c)
	saved := output(t, "iptables-nft-save", "-t", "filter")
	require.NotContains(t, output(t, "iptables-nft", "-S"), "incompatible")
	bare := regexp.MustCompile(` -m comment --comment "waylume [^"]*"`).ReplaceAllString(saved, "")
	require.Contains(t, bare, "-A INPUT -s 10.0.0.1/32 -j DROP\n-A INPUT -p udp -m udp --dport 51820 -j ACCEPT\n-A INPUT -p tcp -m comment --comment no -j REJECT")
	require.Contains(t, bare, "-A FORWARD -s 10.0.0.1/32 -j DROP\n-A FORWARD -i wl0 -j ACCEPT\n-A FORWARD -o wl0 -j ACCEPT\n-A FORWARD -p tcp -m comment --comment no -j REJECT")

	cmd := exec.Command("iptables-nft-restore")
	cmd.Stdin = strings.NewReader(saved)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	requireSettled(t, c)
	require.NoError(t, guest.Remove(c, iface))
	stamp := regexp.MustCompile(`(?m)^#.*\n|\[.*\]`)
	require.Equal(t, stamp.ReplaceAllString(before, ""), stamp.ReplaceAllString(output(t, "iptables-nft-save", "-t", "filter"), ""))
}

// A table that a process owns is left alone and named.
func TestLocked(t *testing.T) {
	c := open(t)
	load(t, "")
	owner := exec.Command("nft", "-i")
	in, err := owner.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, owner.Start())
	t.Cleanup(func() {
		require.NoError(t, in.Close())
		require.NoError(t, owner.Wait())
	})
	_, err = in.Write([]byte("add table inet mine { flags owner; chain f { type filter hook forward priority 0; policy drop; }; }\n"))
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		tables, err := c.Chains(nft.Table{Family: nft.Inet, Name: "mine"})
		return err == nil && len(tables) == 1
	}, 10*time.Second, 5*time.Millisecond)
	requireSettled(t, c)
	locked, err := guest.Locked(c, iface, port)
	require.NoError(t, err)
	require.Equal(t, []string{"mine"}, locked)
}

// Tables that come and go while they are read stop nobody.
func TestEnsureWhileTablesVanish(t *testing.T) {
	c := open(t)
	load(t, "table ip t {\nchain f { type filter hook forward priority 0; policy drop;\n}\n}")
	stop, done := make(chan struct{}), make(chan error, 1)
	go func() {
		for {
			select {
			case <-stop:
				done <- nil
				return
			default:
			}
			cmd := exec.Command("nft", "-f", "-")
			cmd.Stdin = strings.NewReader("table ip u {\nchain f { type filter hook forward priority 0; policy drop;\ndrop\n}\n}\ndelete table ip t\n" +
				"table ip t {\nchain f { type filter hook forward priority 0; policy drop;\n}\n}\ndelete table ip u\n")
			if out, err := cmd.CombinedOutput(); err != nil {
				done <- fmt.Errorf("%w: %s", err, out)
				return
			}
		}
	}()
	for range 100 {
		_, err := guest.Ensure(c, iface, port)
		require.NoError(t, err)
		require.NoError(t, guest.Remove(c, iface))
	}
	close(stop)
	require.NoError(t, <-done)
	_, err := guest.Ensure(c, iface, port)
	require.NoError(t, err)
	requireSettled(t, c)
}

func open(t *testing.T) *nft.Conn {
	t.Helper()
	netns.Require(t)
	testutil.RequireTool(t, "nft", "nftables")
	c, err := nft.Dial()
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, c.Close())
		output(t, "nft", "flush", "ruleset")
	})
	return c
}

// requireSettled asserts that there is nothing to do, and that nothing is written then.
func requireSettled(t *testing.T, c *nft.Conn) {
	t.Helper()
	commits := c.Commits()
	notes, err := guest.Ensure(c, iface, port)
	require.NoError(t, err)
	require.Empty(t, notes)
	require.Equal(t, commits, c.Commits())
	intact, err := guest.Intact(c, iface, port)
	require.NoError(t, err)
	require.True(t, intact)
}

func load(t *testing.T, ruleset string) {
	t.Helper()
	cmd := exec.Command("nft", "-f", "-")
	cmd.Stdin = strings.NewReader("flush ruleset\n" + ruleset)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
}

func list(t *testing.T) string {
	t.Helper()
	return output(t, "nft", "-s", "list", "ruleset")
}

// uncommented is a listing without our comments.
func uncommented(listing string) string {
	return regexp.MustCompile(` comment "waylume [^"]*"`).ReplaceAllString(listing, "")
}

func output(t *testing.T, command ...string) string {
	t.Helper()
	cmd := exec.Command(command[0], command[1:]...)
	out, err := cmd.Output()
	require.NoError(t, err, strings.Join(command, " "))
	return string(out)
}
