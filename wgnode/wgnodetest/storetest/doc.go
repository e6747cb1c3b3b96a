// Package storetest says what a store must do, as tests that any wgnode.Store can be handed to, in the manner of
// testing/fstest. One that passes gives back what was committed, whatever was committed and however often it is opened.
//
//	func TestConformance(t *testing.T) {
//		storetest.TestStore(t, func(t *testing.T) storetest.Open {
//			path := filepath.Join(t.TempDir(), "state.db")
//			return func() (wgnode.Store, error) { return boltstore.Open(path, boltstore.Options{}) }
//		})
//	}
//
// What a store does when its process or its disk dies, the suite cannot know: that is up to the store's own tests.
package storetest
