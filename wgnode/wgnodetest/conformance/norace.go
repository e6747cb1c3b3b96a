//go:build !race

package conformance

// raceEnabled: the race detector makes the packet path several times slower.
const raceEnabled = false
