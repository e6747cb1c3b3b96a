package doctor

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/cmd/waylumed/internal/console"
	"github.com/waylume/waylume/wgnode/kernel"
)

func TestWrite(t *testing.T) {
	nobody := Host{OS: "linux", Arch: "arm64", Kernel: "6.1.0", UserID: 65534, Capabilities: []string{}}
	container := Host{OS: "linux", Arch: "amd64", Kernel: "6.1.0", Capabilities: []string{"CAP_NET_ADMIN"}}
	for name, c := range map[string]struct {
		host other
		want string
	}{
		"all there": {other{host: root(), features: some(kernel.SourceTried, nil, nil, nil, nil)}, `
Host
  System     linux/amd64 6.1.0
  Runs as    root, with CAP_NET_ADMIN, CAP_SYS_ADMIN
  Found out  by trying everything in a network namespace, which is gone again

Features for the kernel dataplane  one driver of the two is enough; what is better can be missing
╭───┬──────────────────┬───────┬────────────┬─────────────────────╮
│   │ Feature          │ Here  │ Need       │ What for            │
├───┼──────────────────┼───────┼────────────┼─────────────────────┤
│ ✓ │ WireGuard module │ there │ one driver │ do WireGuard module │
│ ✓ │ TUN              │ there │ one driver │ do TUN              │
│ ✓ │ IFB              │ there │ required   │ do IFB              │
│ ✓ │ fq_codel         │ there │ better     │ do fq_codel         │
╰───┴──────────────────┴───────┴────────────┴─────────────────────╯

Other firewalls
  none in nftables judges packets that are forwarded or come in

Verdict
✓ This host gets the kernel dataplane, with the WireGuard module.
`},
		"no module, and firewalls": {other{
			host: root(), features: some(kernel.SourceTried, errAbsent, nil, nil, errAbsent), legacy: true,
			firewalls: []kernel.Firewall{
				{Family: "ip", Table: "filter", Programs: []string{"Docker", "ufw"}, Forward: true, Input: true},
				{Family: "inet", Table: "firewalld", Programs: []string{"firewalld"}, Forward: true, Locked: true},
				{Family: "inet", Table: "mine"},
			},
		}, `
Host
  System     linux/amd64 6.1.0
  Runs as    root, with CAP_NET_ADMIN, CAP_SYS_ADMIN
  Found out  by trying everything in a network namespace, which is gone again

Features for the kernel dataplane  one driver of the two is enough; what is better can be missing
╭───┬──────────────────┬────────┬────────────┬─────────────────────╮
│   │ Feature          │ Here   │ Need       │ What for            │
├───┼──────────────────┼────────┼────────────┼─────────────────────┤
│ – │ WireGuard module │ absent │ one driver │ do WireGuard module │
│ ✓ │ TUN              │ there  │ one driver │ do TUN              │
│ ✓ │ IFB              │ there  │ required   │ do IFB              │
│ – │ fq_codel         │ absent │ better     │ do fq_codel         │
╰───┴──────────────────┴────────┴────────────┴─────────────────────╯

Other firewalls
╭────────────────┬─────────────┬───────────┬──────────┬──────────────────────────────────────╮
│ Table          │ Whose       │ Forwarded │ Incoming │ The kernel dataplane                 │
├────────────────┼─────────────┼───────────┼──────────┼──────────────────────────────────────┤
│ ip filter      │ Docker, ufw │ dropped   │ dropped  │ puts rules there, and takes them out │
│ inet firewalld │ firewalld   │ dropped   │ passed   │ is blocked, and cannot change that   │
│ inet mine      │ somebody's  │ passed    │ passed   │ needs nothing there                  │
╰────────────────┴─────────────┴───────────┴──────────┴──────────────────────────────────────╯
  iptables-legacy has tables, which cannot be seen through nftables: if they drop by default,
  accept what comes from and goes to waylume0 in them

Verdict
✓ This host gets the kernel dataplane, with wireguard-go in the process, on a TUN.

For a better one, in this order:
  1. table inet firewalld: without it packets of peers are dropped.
     It takes firewall-cmd --zone=trusted --add-interface=waylume0, and firewall-cmd
     --add-port=PORT/udp for WireGuard's.
  2. WireGuard module: without it there is no WireGuard module.
     It takes the module.
  3. fq_codel: without it there is no fq_codel.
     It takes another kernel.
`},
		"a feature that is required is absent": {other{
			host: root(), features: some(kernel.SourceTried, nil, errAbsent, errAbsent, errAbsent),
			supported: errors.New("IFB is not supported here"),
		}, `
Host
  System     linux/amd64 6.1.0
  Runs as    root, with CAP_NET_ADMIN, CAP_SYS_ADMIN
  Found out  by trying everything in a network namespace, which is gone again

Features for the kernel dataplane  one driver of the two is enough; what is better can be missing
╭───┬──────────────────┬────────┬────────────┬─────────────────────╮
│   │ Feature          │ Here   │ Need       │ What for            │
├───┼──────────────────┼────────┼────────────┼─────────────────────┤
│ ✓ │ WireGuard module │ there  │ one driver │ do WireGuard module │
│ – │ TUN              │ absent │ one driver │ do TUN              │
│ ✗ │ IFB              │ absent │ required   │ do IFB              │
│ – │ fq_codel         │ absent │ better     │ do fq_codel         │
╰───┴──────────────────┴────────┴────────────┴─────────────────────╯

Other firewalls
  none in nftables judges packets that are forwarded or come in

Verdict
✓ This host gets the userspace dataplane: IFB is not supported here

For the kernel dataplane, in this order:
  1. IFB: required, to do IFB.
     It takes a kernel with CONFIG_IFB.
  2. fq_codel: without it there is no fq_codel.
     It takes another kernel.
`},
		"nobody": {other{
			host: nobody, features: some(kernel.SourceRead, errAbsent, errAbsent, errUnclear, nil),
			supported: errors.Join(errors.New("run as root"), errors.New("with a TUN")), unseen: errors.New("not permitted"),
		}, `
Host
  System     linux/arm64 6.1.0
  Runs as    user 65534, with neither CAP_NET_ADMIN nor CAP_SYS_ADMIN
  Found out  by reading what the kernel says of itself: only root (CAP_SYS_ADMIN) may try

Features for the kernel dataplane  one driver of the two is enough; what is better can be missing
╭───┬──────────────────┬─────────┬────────────┬─────────────────────╮
│   │ Feature          │ Here    │ Need       │ What for            │
├───┼──────────────────┼─────────┼────────────┼─────────────────────┤
│ – │ WireGuard module │ absent  │ one driver │ do WireGuard module │
│ – │ TUN              │ absent  │ one driver │ do TUN              │
│ ? │ IFB              │ unknown │ required   │ do IFB              │
│ ✓ │ fq_codel         │ there   │ better     │ do fq_codel         │
╰───┴──────────────────┴─────────┴────────────┴─────────────────────╯

Other firewalls
  unknown: not permitted

Verdict
✓ This host gets the userspace dataplane: run as root; with a TUN
  For a surer answer: sudo waylumed doctor

For the kernel dataplane, in this order:
  1. WireGuard module: one driver of the two is required; this one is to do WireGuard module.
     It takes the module.
  2. TUN: one driver of the two is required; this one is to do TUN.
     It takes the file.
`},
		"container": {other{host: container, features: some(kernel.SourceRead, nil, nil, errUnclear, nil)}, `
Host
  System     linux/amd64 6.1.0
  Runs as    root, with CAP_NET_ADMIN
  Found out  by reading what the kernel says of itself: only root (CAP_SYS_ADMIN) may try

Features for the kernel dataplane  one driver of the two is enough; what is better can be missing
╭───┬──────────────────┬─────────┬────────────┬─────────────────────╮
│   │ Feature          │ Here    │ Need       │ What for            │
├───┼──────────────────┼─────────┼────────────┼─────────────────────┤
│ ✓ │ WireGuard module │ there   │ one driver │ do WireGuard module │
│ ✓ │ TUN              │ there   │ one driver │ do TUN              │
│ ? │ IFB              │ unknown │ required   │ do IFB              │
│ ✓ │ fq_codel         │ there   │ better     │ do fq_codel         │
╰───┴──────────────────┴─────────┴────────────┴─────────────────────╯

Other firewalls
  none in nftables judges packets that are forwarded or come in

Verdict
✓ This host gets the kernel dataplane, with the WireGuard module.
  What it requires and could not be told: IFB.
  For a surer answer run it where root has CAP_SYS_ADMIN, such as outside a container.
`},
		"not Linux": {other{
			host:      Host{OS: "windows", Arch: "amd64", UserID: -1, Capabilities: []string{}},
			supported: errors.New("it requires Linux"), without: errAbsent, unseen: errAbsent,
		}, `
Host
  System     windows/amd64

Verdict
✓ This host gets the userspace dataplane: it requires Linux
`},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := c.host.examine(t.Context())
			require.NoError(t, err)
			var out bytes.Buffer
			require.NoError(t, r.Write(console.New(&out, nil)))
			require.Equal(t, strings.TrimPrefix(c.want, "\n"), out.String())
		})
	}
}

func TestColours(t *testing.T) {
	r, err := other{host: root(), features: some(kernel.SourceTried, nil, nil, errAbsent, errAbsent)}.examine(t.Context())
	require.NoError(t, err)
	var plain, coloured bytes.Buffer
	require.NoError(t, r.Write(console.Console{Writer: &plain}))
	require.NoError(t, r.Write(console.Console{Writer: &coloured, Colour: true}))
	require.Contains(t, coloured.String(), "│ \x1b[32m✓\x1b[0m │")
	require.Contains(t, coloured.String(), "│ \x1b[31m✗\x1b[0m │")
	without := coloured.String()
	for _, style := range []console.Style{console.Bold, console.Faint, console.Red, console.Green, "0"} {
		without = strings.ReplaceAll(without, "\x1b["+string(style)+"m", "")
	}
	require.Equal(t, plain.String(), without)
}
