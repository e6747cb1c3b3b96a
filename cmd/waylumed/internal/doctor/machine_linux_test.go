package doctor

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/internal/testutil/vm"
	"github.com/waylume/waylume/wgnode/kernel"
)

// absentVariable lists, for TestInMachine, what its machine lacks.
const absentVariable = "WAYLUME_TEST_DOCTOR_ABSENT"

// Virtual machines with modules taken out: what they bring is absent, and nothing else.
func TestMachines(t *testing.T) {
	vm.Require(t)
	if testing.Short() {
		t.Skip("virtual machines take some seconds each")
	}
	modules := []string{ // fq_codel is built into that kernel
		"wireguard", "tun", "ifb", "nf_conntrack", "nf_conntrack_netlink", "nf_tables", "nft_ct", "nft_quota", "nft_fwd_netdev", "nft_nat",
		"nft_masq", "nft_chain_nat", "nft_objref", "sch_htb",
	}
	for name, c := range map[string]struct{ without, absent []string }{
		"all":           {nil, nil},
		"module alone":  {[]string{"tun", "nf_conntrack_netlink"}, []string{"TUN", "conntrack over netlink"}},
		"TUN alone":     {[]string{"wireguard"}, []string{wireGuardModule}},
		"no driver":     {[]string{"wireguard", "tun"}, []string{wireGuardModule, tunDevice}},
		"no way to cap": {[]string{"nft_quota", "ifb", "sch_htb"}, []string{"IFB", "HTB", "nft quota objects"}},
	} {
		t.Run(name, func(t *testing.T) {
			vm.TestPackage(t, vm.Config{
				Modules: slices.DeleteFunc(slices.Clone(modules), func(m string) bool { return slices.Contains(c.without, m) }),
				Env:     []string{absentVariable + "=" + strings.Join(c.absent, ",")}, Time: 3 * time.Minute,
			}, "-test.v", "-test.run=^TestInMachine$")
		})
	}
}

func TestInMachine(t *testing.T) {
	if !vm.Inside() {
		t.Skip("only in a machine of TestMachines")
	}
	absent := strings.FieldsFunc(os.Getenv(absentVariable), func(c rune) bool { return c == ',' })
	r, err := Examine(t.Context())
	require.NoError(t, err)
	required := 0
	found := []string{}
	for _, f := range r.Features {
		if f.Answer == kernel.There {
			continue
		}
		require.Equal(t, kernel.Absent, f.Answer, "%+v", f)
		require.NotEmpty(t, f.Requires, "%+v", f)
		found = append(found, f.Name)
		if f.Need == kernel.NeedAlways {
			required++
		}
	}
	require.Equal(t, absent, found)
	noModule, noTUN := slices.Contains(absent, wireGuardModule), slices.Contains(absent, tunDevice)
	switch v := r.Verdict; {
	case noModule && noTUN, required > 0:
		require.Equal(t, userspaceDataplane, v.Dataplane)
		require.ElementsMatch(t, absent, v.Missing)
		for _, name := range v.Missing {
			require.Contains(t, v.Reason, name)
		}
	case noModule:
		require.Equal(t, kernelDataplane+" "+tunDriver, v.Dataplane+" "+v.Driver)
	default:
		require.Equal(t, kernelDataplane+" "+moduleDriver, v.Dataplane+" "+v.Driver)
		require.Empty(t, v.Missing)
	}
}
