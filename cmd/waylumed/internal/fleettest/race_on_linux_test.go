//go:build race

package fleettest

// underRace reports whether the race detector is on.
const underRace = true
