//go:build linux

package kernel_test

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/ipc"
	"golang.zx2c4.com/wireguard/tun"

	"github.com/waylume/waylume/internal/testutil"
	"github.com/waylume/waylume/internal/testutil/netns"
	"github.com/waylume/waylume/wgnode"
)

// The devices of the script, and the one that it shapes uploads on.
const (
	shellInterface = "shell0"
	shellIFB       = "shell1"
)

// shellTools are the programs of the script, with their packages in Debian.
func shellTools() [][2]string {
	return [][2]string{{"wg", "wireguard-tools"}, {"tc", "iproute2"}, {"ip", "iproute2"}, {"iptables-nft", "iptables"}}
}

// shellStep is one program that a script runs for one peer.
type shellStep []string

// shellAdd, shellChange and shellRemove are what scripts do for the i-th peer: the device's peer, then for each direction a
// class, a u32 filter and a rule. Limits are for IPv4 only, a class has no queue of its own, and nothing holds to a cap: less
// than a dataplane does.
func shellAdd(i int) []shellStep {
	peer := benchPeer(i)
	steps := []shellStep{{"wg", "set", shellInterface, "peer", peer.PublicKey.String(), "allowed-ips", shellPrefixes(peer)}}
	for _, line := range shellTC(shellInterface, i, "20mbit", "10mbit") {
		steps = append(steps, append(shellStep{"tc"}, strings.Fields(line)...))
	}
	for _, line := range shellRules(i) {
		steps = append(steps, append(shellStep{"iptables-nft", "-A"}, strings.Fields(line)...))
	}
	return steps
}

func shellChange(i int) (steps []shellStep) {
	for _, d := range []struct{ dev, rate string }{{shellInterface, "30mbit"}, {shellIFB, "15mbit"}} {
		line := fmt.Sprintf("tc class change dev %s parent 1: classid %s htb rate %s quantum 1514", d.dev, shellClass(i), d.rate)
		steps = append(steps, strings.Fields(line))
	}
	return steps
}

func shellRemove(i int) []shellStep {
	key := benchPeer(i).PublicKey
	steps := []shellStep{{"wg", "set", shellInterface, "peer", key.String(), "remove"}}
	for _, dev := range []string{shellInterface, shellIFB} {
		steps = append(steps,
			strings.Fields(fmt.Sprintf("tc filter del dev %s %s u32", dev, shellFilter(i))),
			strings.Fields(fmt.Sprintf("tc class del dev %s parent 1: classid %s", dev, shellClass(i))))
	}
	for _, line := range shellRules(i) {
		steps = append(steps, append(shellStep{"iptables-nft", "-D"}, strings.Fields(line)...))
	}
	return steps
}

func shellClass(i int) string { return fmt.Sprintf("1:%x", i+2) }

func shellPrefixes(p wgnode.PeerState) string {
	return fmt.Sprintf("%s/32,%s/128", p.Addrs[0], p.Addrs[1])
}

// shellTC are lines for tc.
func shellTC(iface string, i int, download, upload string) (lines []string) {
	addr := benchPeer(i).Addrs[0]
	for _, d := range []struct{ dev, rate, match string }{{iface, download, "dst"}, {shellIFB, upload, "src"}} {
		lines = append(lines,
			fmt.Sprintf("class add dev %s parent 1: classid %s htb rate %s quantum 1514", d.dev, shellClass(i), d.rate),
			fmt.Sprintf("filter add dev %s %s u32 match ip %s %s flowid %s", d.dev, shellFilter(i), d.match, addr, shellClass(i)))
	}
	return lines
}

// A list of u32 filters has room for 4,095, and each has a priority of its own.
const shellList = 4000

// shellFilter is where a filter stands, to be removed by: a list, and the place in it. The kernel numbers lists from 800 on.
func shellFilter(i int) string {
	return fmt.Sprintf("parent 1: protocol ip prio %d handle %x::%x", i/shellList+1, 0x800+i/shellList, i%shellList+1)
}

// shellLists are lines for tc that make the lists for so many filters, each with one that nothing matches: an empty list goes.
func shellLists(iface string, filters int) (lines []string) {
	for list := range filters/shellList + 1 {
		for _, dev := range []string{iface, shellIFB} {
			lines = append(lines, fmt.Sprintf("filter add dev %s parent 1: protocol ip prio %d handle %x::fff u32 match ip dst 0.0.0.0/32 flowid 1:",
				dev, list+1, 0x800+list))
		}
	}
	return lines
}

// shellRules are rules for iptables, without the command.
func shellRules(i int) []string {
	addr := benchPeer(i).Addrs[0]
	return []string{fmt.Sprintf("FORWARD -s %s/32 -j ACCEPT", addr), fmt.Sprintf("FORWARD -d %s/32 -j ACCEPT", addr)}
}

// run runs a program with an input.
func (s shellStep) run(input io.Reader) error {
	cmd := exec.Command(s[0], s[1:]...)
	cmd.Stdin = input
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(s, " "), err, out)
	}
	return nil
}

// output runs a program for what it writes.
func (s shellStep) output() ([]byte, error) {
	out, err := exec.Command(s[0], s[1:]...).Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", strings.Join(s, " "), err)
	}
	return out, nil
}

func runAll(steps []shellStep) error {
	for _, s := range steps {
		if err := s.run(nil); err != nil {
			return err
		}
	}
	return nil
}

// shellPrepare gives an interface what a script gives n peers beside the device's, as fast as it may be had.
func shellPrepare(iface string, n int, download, upload string) error {
	err := runAll([]shellStep{
		{"ip", "link", "add", shellIFB, "type", "ifb"},
		{"ip", "link", "set", shellIFB, "up"},
		{"tc", "qdisc", "add", "dev", iface, "root", "handle", "1:", "htb"},
		{"tc", "qdisc", "add", "dev", shellIFB, "root", "handle", "1:", "htb"},
		{"tc", "qdisc", "add", "dev", iface, "handle", "ffff:", "ingress"},
		{
			"tc", "filter", "add", "dev", iface, "parent", "ffff:", "protocol", "ip", "u32", "match", "u32", "0", "0",
			"action", "mirred", "egress", "redirect", "dev", shellIFB,
		},
	})
	if err != nil {
		return err
	}
	var classes, rules bytes.Buffer
	rules.WriteString("*filter\n")
	for _, line := range shellLists(iface, n) {
		classes.WriteString(line + "\n")
	}
	for i := range n {
		for _, line := range shellTC(iface, i, download, upload) {
			classes.WriteString(line + "\n")
		}
		for _, line := range shellRules(i) {
			rules.WriteString("-A " + line + "\n")
		}
	}
	rules.WriteString("COMMIT\n")
	if err := (shellStep{"tc", "-batch", "-"}).run(&classes); err != nil {
		return err
	}
	return shellStep{"iptables-nft-restore"}.run(&rules)
}

// benchShell measures the script: a program for each step. Its device is wireguard-go on a TUN, as the dataplane's.
func benchShell(b *testing.B, n int) {
	netns.Require(b)
	for _, tool := range shellTools() {
		testutil.RequireTool(b, tool[0], tool[1])
	}
	dev := shellDevice(b)
	var text strings.Builder
	for i := range n {
		p := benchPeer(i)
		fmt.Fprintf(&text, "public_key=%s\nallowed_ip=%s/32\nallowed_ip=%s/128\n", hex.EncodeToString(p.PublicKey[:]), p.Addrs[0], p.Addrs[1])
	}
	require.NoError(b, dev.IpcSet(text.String()))
	require.NoError(b, shellPrepare(shellInterface, n, "20mbit", "10mbit"))
	defer func() {
		require.NoError(b, runAll([]shellStep{{"ip", "link", "del", shellIFB}, {"iptables-nft", "-F", "FORWARD"}}))
	}()
	do := func(steps func(int) []shellStep) func() {
		return func() { require.NoError(b, runAll(steps(n))) }
	}
	life{add: do(shellAdd), change: do(shellChange), remove: do(shellRemove)}.measure(b)
}

// shellDevice is a WireGuard device that listens to wg(8).
func shellDevice(b *testing.B) *device.Device {
	native, err := tun.CreateTUN(shellInterface, wgnode.DefaultMTU)
	require.NoError(b, err)
	dev := device.NewDevice(native, conn.NewDefaultBind(), device.NewLogger(device.LogLevelSilent, ""))
	b.Cleanup(dev.Close)
	require.NoError(b, dev.Up())
	file, err := ipc.UAPIOpen(shellInterface)
	require.NoError(b, err)
	listener, err := ipc.UAPIListen(shellInterface, file)
	require.NoError(b, err)
	done := make(chan struct{})
	b.Cleanup(func() {
		require.NoError(b, listener.Close())
		<-done
	})
	go func() {
		defer close(done)
		for {
			var c net.Conn
			if c, err = listener.Accept(); err != nil {
				return
			}
			dev.IpcHandle(c)
		}
	}()
	return dev
}
