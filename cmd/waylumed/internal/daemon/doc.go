// Package daemon runs a node with all that is around it: its API, its metrics, its audit log, and the supervisor that has started it.
package daemon
