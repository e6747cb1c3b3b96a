// Package registrytest has the suite that every implementation of the interfaces of package registry passes: each sentence of
// their documentation that a test can hold is a subtest.
//
//	func TestConformance(t *testing.T) {
//		registrytest.Run(t, func(t *testing.T) registrytest.Fleet {
//			clock := newClock()
//			fleet, err := memory.New(memory.Config{Now: clock.Now})
//			require.NoError(t, err)
//			return registrytest.Fleet{Registry: fleet, Directory: fleet, Sessions: fleet, Advance: clock.Advance}
//		})
//	}
//
// [Run] is for who implements all three. [RunRegistry] has the node's part alone, for a Registry whose other side is elsewhere; what
// looks at that side is left out where the [Fleet] has none.
//
// Each subtest makes a fleet of its own, which is empty. Nothing here sleeps or measures time: what has to do with time is
// brought about with [Fleet].Advance. Tests of concurrency are of use with the race detector, and without.
package registrytest
