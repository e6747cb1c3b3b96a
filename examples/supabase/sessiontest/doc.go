// Package sessiontest has tests of the edge functions that clients, Stripe and a schedule ask: in a real Deno, before a real
// PostgreSQL, with processes of `waylumed run` as nodes and a stock WireGuard device as the client. They run in a network namespace of
// their own, in which another one is the internet, and need Go to build the program.
package sessiontest
