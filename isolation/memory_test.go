package isolation_test

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/internal/testutil/heap"
	"github.com/waylume/waylume/isolation"
)

// quietSubjects have an address of either family, and never a packet.
func quietSubjects(n int) []isolation.Subject {
	subjects := make([]isolation.Subject, n)
	for i := range subjects {
		addr := [16]byte{0: 0xfd, 12: 10, 13: byte(i >> 16), 14: byte(i >> 8), 15: byte(i)}
		subjects[i] = isolation.Subject{
			ID: fmt.Sprintf("subject %d", i), Addrs: []netip.Addr{netip.AddrFrom4([4]byte(addr[12:])), netip.AddrFrom16(addr)},
		}
	}
	return subjects
}

func quietFilter(tb testing.TB, config isolation.Config, subjects []isolation.Subject) *isolation.Filter {
	filter := isolation.NewFilter(config)
	_, err := filter.SetSubjects(subjects...)
	require.NoError(tb, err)
	return filter
}

// BenchmarkRegisteredMemory is what the filter keeps for a member that was never judged.
func BenchmarkRegisteredMemory(b *testing.B) {
	for _, n := range []int{10_000, 100_000} {
		for name, config := range map[string]isolation.Config{"own": {}, "shared": sharing()} {
			b.Run(fmt.Sprintf("peers=%d/%s", n, name), func(b *testing.B) {
				subjects := quietSubjects(n)
				heap.Report(b, n, func() any { return quietFilter(b, config, subjects) })
			})
		}
	}
}

// sharing is the filter of an owner who has subjects and addresses anyway.
func sharing() isolation.Config {
	return isolation.Config{KeepSubjects: true, Lookup: func(netip.Addr) *isolation.Member { return nil }}
}

// TestMemberMemory holds what a member costs that nothing is remembered of.
func TestMemberMemory(t *testing.T) {
	const n = 20_000
	subjects := quietSubjects(n)
	for name, c := range map[string]struct {
		config isolation.Config
		bound  float64 // bytes
	}{"own": {isolation.Config{}, 340}, "shared": {sharing(), 220}} {
		t.Run(name, func(t *testing.T) {
			got := heap.PerItem(n, func() any { return quietFilter(t, c.config, subjects) })
			require.Less(t, got, heap.Room*c.bound)
		})
	}
}

// TestSharedTable has a filter look addresses up in somebody else's table, and keep what it is given.
func TestSharedTable(t *testing.T) {
	table := make(map[netip.Addr]*isolation.Member)
	filter := isolation.NewFilter(isolation.Config{
		KeepSubjects: true, Lookup: func(addr netip.Addr) *isolation.Member { return table[addr] },
	})
	subjects := quietSubjects(2)
	members, err := filter.SetSubjects(subjects...)
	require.NoError(t, err)
	require.Nil(t, filter.Lookup(subjects[0].Addrs[0]), "the table is its owner's")
	for i, s := range subjects {
		for _, addr := range s.Addrs {
			table[addr] = members[i]
		}
	}
	require.Same(t, members[1], filter.Lookup(subjects[1].Addrs[1]))
	toOther := udp(subjects[0].Addrs[0].String(), subjects[1].Addrs[0].String(), 1, 1)
	require.Equal(t, isolation.ReasonPeer, filter.CheckPacket(members[0], toOther.bytes()).Reason)
	filter.RemoveSubject(subjects[0].ID)
	require.Equal(t, isolation.ReasonUnknown, filter.CheckPacket(members[0], toOther.bytes()).Reason)
}
