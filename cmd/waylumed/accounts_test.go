package main

import (
	"testing"

	"github.com/stretchr/testify/require"

	api "github.com/waylume/waylume/wgnode/httpapi/v1"
)

func TestAccounts(t *testing.T) {
	d := newDaemon(t)
	d.want("accounts list", "There are no accounts.\n")
	require.Equal(t, []api.Account{}, answer[[]api.Account](d, "accounts list"))
	d = populated(t)
	d.want("accounts list", `
╭─────────┬───────┬─────────────┬───────────────┬────────┬─────────────────────╮
│ Account │ Peers │ Speed limit │ Data cap      │ State  │ Created             │
├─────────┼───────┼─────────────┼───────────────┼────────┼─────────────────────┤
│ family  │     1 │ 200 Mbit/s  │ 1 TiB monthly │ active │ 2026-11-21 18:00:00 │
╰─────────┴───────┴─────────────┴───────────────┴────────┴─────────────────────╯
`)
	d.want("accounts show family", `
Account family
  Peers          1
  Labels         plan=pro
  State          active
  Speed limit    200 Mbit/s
  Data cap       1 TiB monthly
  Created        2026-11-21 18:00:00
  Used           0 B of 1 TiB, 0 %
  Period ends    2026-11-21 18:00:00
  Since added    ↓ 0 B ↑ 0 B
`)
	require.Equal(t, 1, answer[api.Account](d, "accounts show family").Peers)
	for _, test := range []struct{ line, want string }{
		{"accounts limit family --upload 50mbit", "Account family: speed limit ↓ 200 Mbit/s ↑ 50 Mbit/s.\n"},
		{"accounts limit family none", "Account family: speed limit none.\n"},
		{"accounts cap family 5GiB --counted download", "Account family: data cap 5 GiB monthly, download.\n"},
		{"accounts cap family none", "Account family: data cap none.\n"},
		{"accounts suspend family", "Account family: suspended.\n"},
	} {
		d.want(test.line, test.want)
	}
	require.True(t, answer[[]api.Peer](d, "peers list --account family")[0].AccountSuspended)
	d.want("accounts put family --speed 1mbit", "Account family: speed limit 1 Mbit/s, data cap none.\n")
	require.True(t, answer[api.Account](d, "accounts show family").Suspended, "it stays so")
	d.want("accounts resume family", "Account family: active.\n")

	require.Equal(t,
		"waylumed: delete an account: Conflict: the account still has peers: remove or move them first, or ask with peers=true\n"+
			"--peers removes those that it has with it: 1\n", d.fails("accounts remove family", exitFailed))
	require.Equal(t, 1, answer[api.Account](d, "accounts remove family --peers").Peers)
	require.Len(t, answer[[]api.Peer](d, "peers list"), 1)
	require.Contains(t, d.fails("accounts show family", exitFailed), "get an account: Not found")
	d.want("accounts put a/b", "Account a/b: speed limit none, data cap none.\n")
	d.want("accounts remove a/b", "Removed account a/b.\n")
	require.Contains(t, d.fails("accounts show ..", exitFailed), `".." cannot be the name of anything`)
	require.Contains(t, d.fails("accounts put x --cap 5G", exitUsage), "--cap: ")
	require.Contains(t, d.fails("accounts put x --period daily", exitUsage), "--cap: is not given")
}
