// Package bench measures Waylume as a whole: an exit node in a process of its own, clients with stock WireGuard on the
// kernel's TUN, each in a network namespace, and a server in another one. There is nothing to import: it is Go benchmarks,
// which `make bench` runs and docs/performance.md explains.
//
// Each operation of a benchmark is one measurement of a fixed length, so that -benchtime 1x is what is wanted. BENCH_FULL=1 in the
// environment makes measurements longer and adds cases.
//
// Root is required, on Linux: for the namespaces, the clients' TUNs, and the dataplane of package kernel. The node under
// test has no privilege at all where it is package userspace's.
package bench
