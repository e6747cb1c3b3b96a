package storetest

import (
	"context"
	"fmt"
	"testing"

	"github.com/waylume/waylume/wgnode"
)

// Open opens one store, again and again, with what it kept. The suite closes what it opened before it opens it again.
type Open func() (wgnode.Store, error)

// TestStore runs the suite. It makes a store for each test, and many small commits: seconds on a disk that is slow to sync.
func TestStore(t *testing.T, newStore func(t *testing.T) Open) {
	for name, test := range map[string]func(*testing.T, Open){
		"Empty":      testEmpty,
		"Copies":     testCopies,
		"Context":    testContext,
		"LeaveEarly": testLeaveEarly,
		"Many":       testMany,
		"Later":      testLater,
		"Concurrent": testConcurrent,
		"Close":      testClose,
	} {
		t.Run(name, func(t *testing.T) { test(t, newStore(t)) })
	}
	t.Run("Map", func(t *testing.T) { testMap(t, newStore) })
}

// ID names a record.
type ID struct {
	Kind wgnode.RecordKind
	Key  string
}

// Contents reads a whole store. That it yields a record twice is an error.
func Contents(ctx context.Context, store wgnode.Store) (map[ID]string, error) {
	all := make(map[ID]string)
	for r, err := range store.Load(ctx) {
		if err != nil {
			return nil, err
		}
		if _, twice := all[ID{r.Kind, r.Key}]; twice {
			return nil, fmt.Errorf("%s %q came twice", r.Kind, r.Key)
		}
		all[ID{r.Kind, r.Key}] = string(r.Value)
	}
	return all, nil
}

// Put is the mutation that stores a record.
func Put(kind wgnode.RecordKind, key, value string) wgnode.Mutation {
	return wgnode.Mutation{Record: wgnode.Record{Kind: kind, Key: key, Value: []byte(value)}}
}

// Remove is the mutation that deletes a record.
func Remove(kind wgnode.RecordKind, key string) wgnode.Mutation {
	return wgnode.Mutation{Record: wgnode.Record{Kind: kind, Key: key}, Delete: true}
}
