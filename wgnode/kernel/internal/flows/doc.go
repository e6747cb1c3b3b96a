// Package flows makes the kernel's connection tracking forget the flows of addresses that have changed hands, so that nothing
// late of the former peer's reaches the next. It speaks ctnetlink (net/netfilter/nf_conntrack_netlink.c) and needs
// CAP_NET_ADMIN.
package flows
