// Package fleettest has tests of a fleet: three processes of `waylumed run`, each in a network namespace of its own, a PostgreSQL that
// they reach over their links, a controller that places sessions on them by signed requests, and WireGuard clients that
// download from a host behind the nodes, while nodes are killed, cut off and drained, and the database is away. They need what the
// kernel dataplane needs, a PostgreSQL, and Go to build the program.
package fleettest
