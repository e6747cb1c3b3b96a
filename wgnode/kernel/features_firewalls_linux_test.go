package kernel

import (
	"context"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/internal/testutil"
	"github.com/waylume/waylume/internal/testutil/netns"
)

func TestFirewalls(t *testing.T) {
	netns.Require(t)
	nft := testutil.RequireTool(t, "nft", "nftables")
	const mine = "table inet mine {\nchain in {\ntype filter hook input priority 0; policy drop;\n}\n}\n"
	const docker = "table ip filter {\nchain DOCKER-USER {\n}\nchain FORWARD {\ntype filter hook forward priority 0; policy drop;\n" +
		"jump DOCKER-USER\n}\n}\n"
	var found []Firewall
	netns.New(t).Do(t, func() (err error) {
		cmd := exec.Command(nft, "-f", "-")
		cmd.Stdin = strings.NewReader(mine + docker)
		if err := cmd.Run(); err != nil {
			return err
		}
		found, err = Firewalls(t.Context())
		return err
	})
	require.Equal(t, []Firewall{
		{Family: "inet", Table: "mine", Input: true},
		{Family: "ip", Table: "filter", Programs: []string{"Docker"}, Forward: true},
	}, found)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := Firewalls(ended)
	require.ErrorIs(t, err, context.Canceled)
	_, err = Features(ended)
	require.ErrorIs(t, err, context.Canceled)
}
