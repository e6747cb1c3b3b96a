// Package nft speaks nftables' netlink protocol as far as a dataplane needs it: tables of its own with chains, hash sets and
// maps keyed by address, interval sets, and named counters and quotas.
//
// A [Ruleset] says what is to be in the kernel, as data. [Conn.Read] reads what is, [Diff] makes the [Batch] that leads from
// the one to the other and is empty where nothing differs, and [Conn.Commit] sends a batch as one transaction: all of it
// takes effect for the same packet, or none of it. Small changes are batches made by hand.
//
// Expressions are those of github.com/google/nftables/expr, with two that it lacks: maps to objects and forwarding. The
// messages are written here, because that package can neither make maps to objects nor elements in them, and because a bulk
// load of 60,000 peers is worth an encoder that only appends.
//
// Source of all numbers: include/uapi/linux/netfilter/nf_tables.h and net/netfilter/nf_tables_api.c.
package nft
