// Package link holds the host's network interfaces, addresses and routes to what the dataplane wants of them, over rtnetlink
// and with no program run.
//
// Every Ensure function reads first and writes only what differs, so that a second call writes nothing; [Conn.Writes] counts.
// An interface is ours when its alias (ip link show: "alias waylume") says so; no other is ever changed or removed. [Monitor]
// tells when someone else changes what was ensured.
//
// Reading needs no privilege; writing needs CAP_NET_ADMIN in the user namespace that owns the network namespace. Linux only:
// elsewhere the package is empty.
package link
