package ipam_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/waylume/waylume/ipam"
)

func Example() {
	pool, err := ipam.New(ipam.DefaultConfig())
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, family := range pool.Families() {
		gateway, _ := pool.Gateway(family)
		addr, err := pool.Lease(family)
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(family, "node", gateway, "peer", addr)
	}
	// Output:
	// IPv4 node 10.0.0.1 peer 10.0.0.2
	// IPv6 node fd77:6179:6c75:6d65::1 peer fd77:6179:6c75:6d65::2
}

// Every problem of a configuration is reported at once.
func ExampleNew() {
	_, err := ipam.New(ipam.Config{
		Prefixes: []netip.Prefix{netip.MustParsePrefix("10.1.2.3/16"), netip.MustParsePrefix("127.0.0.0/8")},
		Excluded: []netip.Prefix{netip.MustParsePrefix("192.168.0.0/24")},
	})
	fmt.Println(err)
	// Output:
	// ipam: Prefixes[0]: 10.1.2.3/16 has host bits set; write 10.1.0.0/16
	// ipam: Prefixes[1]: 127.0.0.0/8 has loopback addresses (RFC 1122), 127.0.0.0/8, which cannot be leased; choose another
	// ipam: Excluded[0]: 192.168.0.0/24 is not inside any one of Prefixes; exclude only what the pool has
}

// A key has the same address in every pool with the same configuration, for as long as that is free.
func ExamplePool_LeaseFor() {
	for range 2 {
		pool, err := ipam.New(ipam.DefaultConfig())
		if err != nil {
			fmt.Println(err)
			return
		}
		addr, err := pool.LeaseFor(ipam.IPv4, []byte("alice"))
		fmt.Println(addr, err)
	}
	// Output:
	// 10.43.216.8 <nil>
	// 10.43.216.8 <nil>
}

// A released address rests before anyone else may have it.
func ExamplePool_Release() {
	now := time.Date(2031, 1, 1, 12, 0, 0, 0, time.UTC)
	pool, err := ipam.New(ipam.Config{
		Prefixes:   []netip.Prefix{netip.MustParsePrefix("10.0.0.0/30")},
		Quarantine: time.Minute,
		Now:        func() time.Time { return now },
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	addr, _ := pool.Lease(ipam.IPv4)
	_ = pool.Release(addr)
	_, err = pool.Lease(ipam.IPv4)
	fmt.Println(err)

	if exhausted, ok := errors.AsType[*ipam.ExhaustedError](err); ok {
		now = exhausted.Until
	}
	fmt.Println(pool.Lease(ipam.IPv4))
	// Output:
	// ipam: no free IPv4 address: of 1, 0 are leased and 1 in quarantine, the first of these until 2031-01-01T12:01:00Z; try again then or add a prefix
	// 10.0.0.2 <nil>
}

// The state of a pool travels as JSON.
func ExamplePool_Snapshot() {
	pool, err := ipam.New(ipam.DefaultConfig())
	if err != nil {
		fmt.Println(err)
		return
	}
	for range 1000 {
		_, _ = pool.Lease(ipam.IPv4)
	}
	saved, err := json.Marshal(pool.Snapshot())
	if err != nil {
		fmt.Println(err)
		return
	}

	restarted, err := ipam.New(ipam.DefaultConfig())
	if err != nil {
		fmt.Println(err)
		return
	}
	var snapshot ipam.Snapshot
	if err := json.Unmarshal(saved, &snapshot); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(restarted.Restore(snapshot), len(saved) < 100)
	fmt.Println(restarted.Lease(ipam.IPv4))
	// Output:
	// <nil> true
	// 10.0.3.234 <nil>
}
