package conformance

import (
	"slices"
	"testing"

	"go.uber.org/goleak"

	"github.com/waylume/waylume/shaping"
)

// Harness says how the suite gets at a dataplane.
type Harness struct {
	// Rig makes a world for one test. Required. It may skip or fail the test.
	Rig func(t *testing.T) Rig
	// Rates are the speed limits that single flows are measured at. Nil: [DefaultRates].
	Rates []shaping.Rate
	// Skip names tests that this dataplane is not held to, each with the reason, which the test's output repeats. A name
	// that is no test's is a failure.
	Skip map[string]string
	// Traits are what the dataplane cannot help. The zero value is the strictest.
	Traits Traits
}

// DefaultRates returns 1, 10 and 100 Mbit/s.
func DefaultRates() []shaping.Rate { return []shaping.Rate{mbit(1), mbit(10), mbit(100)} }

// test is one subject of the suite.
type test struct {
	name string
	run  func(t *testing.T, h Harness)
	// alone: the test needs the machine, or the list of goroutines, for itself.
	alone bool
}

func tests() []test {
	return []test{
		{"Lifecycle", testLifecycle, true},
		{"Rate", testRate, true},
		{"SharedLimits", testSharedLimits, false},
		{"ChangeUnderLoad", testChangeUnderLoad, false},
		{"Cap", testCap, false},
		{"Throttle", testThrottle, false},
		{"Isolation", testIsolation, false},
		{"Spoofing", testSpoofing, false},
		{"PeerToPeer", testPeerToPeer, false},
		{"Churn", testChurn, false},
		{"Removal", testRemoval, false},
		{"Addresses", testAddresses, false},
		{"Fragments", testFragments, false},
		{"Idempotence", testIdempotence, false},
		{"Repair", testRepair, false},
		{"Atomicity", testAtomicity, false},
		{"Suspension", testSuspension, false},
		{"Rotation", testRotation, false},
		{"KeyOverlap", testKeyOverlap, false},
		{"Restart", testRestart, false},
		{"Closing", testClosing, false},
		{"Stats", testStats, false},
		{"Health", testHealth, false},
		{"Hostile", testHostile, false},
	}
}

// TestNamed runs one test of the suite, for a rig that has the dataplanes of one node differ from each other.
func TestNamed(t *testing.T, h Harness, name string) {
	i := slices.IndexFunc(tests(), func(test test) bool { return test.name == name })
	if i < 0 {
		t.Fatalf("the suite has no test %q", name)
	}
	tests()[i].run(t, h)
}

// TestDataplane runs the suite. It takes less than a minute, two cores and the race detector included, and leaves no
// goroutine. Tests that move little data run beside each other as far as go test's -parallel lets them.
func TestDataplane(t *testing.T, h Harness) {
	if h.Rates == nil {
		h.Rates = DefaultRates()
	}
	for name := range h.Skip {
		if !slices.ContainsFunc(tests(), func(test test) bool { return test.name == name }) {
			t.Errorf("Harness.Skip names %q, which is no test", name)
		}
	}
	ignore := goleak.IgnoreCurrent()
	t.Cleanup(func() {
		if !t.Failed() { // a test that gave up half-way has left things as they were
			goleak.VerifyNone(t, ignore)
		}
	})
	for _, test := range tests() {
		t.Run(test.name, func(t *testing.T) {
			if reason, ok := h.Skip[test.name]; ok {
				t.Skip(reason)
			}
			if !test.alone {
				t.Parallel()
			}
			test.run(t, h)
		})
	}
}
