// Package ipam leases IP addresses from a set of prefixes and takes them back.
//
// A [Pool] is made once with [New] and is ready at once: it starts no goroutine, reads no environment, needs no privilege
// and has nothing to close. It is safe for concurrent use. Without a configuration it serves 10.0.0.0/8, from 10.0.0.2 to
// 10.255.255.254, and [DefaultIPv6].
//
//	pool, err := ipam.New(ipam.DefaultConfig())
//	if err != nil {
//		return err
//	}
//	addr, err := pool.Lease(ipam.IPv4) // 10.0.0.2
//	if err != nil {
//		return err
//	}
//	defer pool.Release(addr)
//
// # Which address
//
// [Pool.Lease] goes round its family: it takes the lowest address of the first prefix that it has not leased in this
// round, and an address that is released joins the next round. So an address comes up again only after every other that
// was free before it has had its turn. [Pool.LeaseFor] derives the address from a key instead, so that the same key gets
// the same address whenever it is free, on any machine and after any restart. [Pool.LeaseAddr] takes the address asked for.
//
// # Quarantine
//
// A released address rests for [Config].Quarantine before any of these lease it again: packets for its last holder may
// still be on their way, and must not reach a stranger. The rest lasts at most 1/256 longer than configured; that rounding
// bounds the memory. [Pool.Discard] gives back an address that its holder never used, without a rest.
//
// # Reserved addresses
//
// The first host of a family's first prefix is the node's own address, [Pool.Gateway], and is never leased. Nor are an IPv4
// prefix's network and broadcast address, and an IPv6 prefix's Subnet-Router anycast address (RFC 4291 section 2.6.1). The
// smallest prefixes have no such addresses: both of a /31 (RFC 3021) or a /127 (RFC 6164), and the one of a /32 or a /128,
// are hosts. So, as a family's first prefix:
//
//	/30          the gateway and one lease
//	/31 or /127  the gateway and one lease
//	/32 or /128  the gateway; refused unless a further prefix has something to lease
//	/126         the gateway and two leases
//
// and as a further prefix a /30 gives two leases, a /31 or a /127 two, a /32 or a /128 one, a /126 three.
//
// # Large prefixes and memory
//
// Lease and LeaseFor hand out the first 2^24 addresses of each prefix, its window: all of an IPv4 prefix, which is a /8 or
// longer, and a part of an IPv6 /64 that is the size of 10.0.0.0/8. LeaseAddr takes addresses anywhere in a prefix; those
// beyond the window are held one by one, at most [MaxOutlying] in a pool.
//
// To lease and to release take constant time, whether the pool is empty or has 16 million leases: sets of addresses are
// bitmaps with summaries, 64 to one, over pages of 4,096 addresses, and a page that is all or nothing takes no space. The
// end of a quarantine costs the next call some nanoseconds for each address that it frees. The default pool takes 0.2 MB,
// empty or with all of 10.0.0.0/8 leased, and 5 MB with every second address of that leased; no prefix ever takes more than
// 7.2 MB, to which come 4 bytes for each address in quarantine, and those beyond the windows in a map.
//
// # Keeping leases
//
// [Pool.Snapshot] takes the whole state in a compact form that marshals as binary, text and JSON; [Pool.Restore] puts it
// back, checked against the pool's own configuration. A snapshot that is damaged or belongs to another pool is an error
// that leaves the pool as it was.
package ipam
