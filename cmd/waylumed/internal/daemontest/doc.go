// Package daemontest has tests of the program waylumed: processes of `waylumed run`, over real HTTP, in a network namespace of their
// own. They need what it needs, and Go to build it.
package daemontest
