package fleettest

import (
	"testing"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// cut separates a host from the control plane and its database, without a word to either: TCP packets are dropped on their link, both
// ways. WireGuard's pass.
func cut(t *testing.T, h *host) (heal func()) {
	t.Helper()
	c, err := nftables.New()
	require.NoError(t, err)
	table := c.AddTable(&nftables.Table{Family: nftables.TableFamilyIPv4, Name: "cut-" + h.link})
	for name, side := range map[string]struct {
		hook *nftables.ChainHook
		key  expr.MetaKey
	}{"in": {nftables.ChainHookInput, expr.MetaKeyIIFNAME}, "out": {nftables.ChainHookOutput, expr.MetaKeyOIFNAME}} {
		chain := c.AddChain(&nftables.Chain{
			Name: name, Table: table, Type: nftables.ChainTypeFilter, Hooknum: side.hook, Priority: nftables.ChainPriorityFilter,
		})
		link := make([]byte, unix.IFNAMSIZ)
		copy(link, h.link)
		c.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: []expr.Any{
			&expr.Meta{Key: side.key, Register: 1},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: link},
			&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.IPPROTO_TCP}},
			&expr.Verdict{Kind: expr.VerdictDrop},
		}})
	}
	require.NoError(t, c.Flush())
	return func() {
		t.Helper()
		c.DelTable(table)
		require.NoError(t, c.Flush())
	}
}
