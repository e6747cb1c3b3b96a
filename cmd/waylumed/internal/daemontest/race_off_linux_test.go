//go:build !race

package daemontest

// underRace reports whether the race detector is on.
const underRace = false
