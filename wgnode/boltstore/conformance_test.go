package boltstore_test

import (
	"testing"

	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/boltstore"
	"github.com/waylume/waylume/wgnode/wgnodetest/storetest"
)

func TestConformance(t *testing.T) {
	storetest.TestStore(t, func(t *testing.T) storetest.Open {
		path := newPath(t)
		return func() (wgnode.Store, error) { return boltstore.Open(path, boltstore.Options{}) }
	})
}
