package storetest_test

import (
	"testing"

	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/wgnodetest/storetest"
)

func TestMemoryStore(t *testing.T) {
	storetest.TestStore(t, func(*testing.T) storetest.Open {
		store := wgnode.NewMemoryStore()
		return func() (wgnode.Store, error) { return store, nil }
	})
}
