package boltkeys_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/waylume/waylume/wgnode/httpapi/idempotency"
)

// reopen closes a store, if it is to be, and opens it with what it kept.
type reopen func(idempotency.Store) idempotency.Store

// TestStores holds both stores to what idempotency.Store says.
func TestStores(t *testing.T) {
	for name, newStore := range map[string]func(t *testing.T) (idempotency.Store, reopen){
		"memory": func(*testing.T) (idempotency.Store, reopen) {
			return idempotency.NewMemoryStore(), func(s idempotency.Store) idempotency.Store { return s }
		},
		"file": func(t *testing.T) (idempotency.Store, reopen) {
			path := newPath(t)
			s := open(t, path)
			t.Cleanup(func() { require.NoError(t, s.Close()) })
			return s, func(idempotency.Store) idempotency.Store {
				require.NoError(t, s.Close())
				s = open(t, path)
				return s
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Run("Model", func(t *testing.T) { testModel(t, newStore) })
			t.Run("Concurrent", func(t *testing.T) { s, again := newStore(t); testConcurrent(t, s, again) })
			t.Run("Context", func(t *testing.T) { s, _ := newStore(t); testContext(t, s) })
			t.Run("Copies", func(t *testing.T) { s, _ := newStore(t); testCopies(t, s) })
		})
	}
}

func testModel(t *testing.T, newStore func(t *testing.T) (idempotency.Store, reopen)) {
	rapid.Check(t, func(r *rapid.T) {
		s, again := newStore(t)
		secret := s.Secret()
		require.NotZero(t, secret)
		want := make(map[idempotency.ID]idempotency.Put)
		id := rapid.Custom(func(r *rapid.T) idempotency.ID { return idempotency.ID{31: rapid.ByteRange(1, 5).Draw(r, "id")} })
		salt := rapid.Custom(func(r *rapid.T) [32]byte { return [32]byte{rapid.ByteRange(1, 3).Draw(r, "salt")} })
		r.Repeat(map[string]func(*rapid.T){
			"commit": func(r *rapid.T) {
				var c idempotency.Change
				for range rapid.IntRange(0, 3).Draw(r, "puts") {
					p := idempotency.Put{Answer: rapid.SliceOfN(rapid.Byte(), 0, 5000).Draw(r, "answer")}
					p.Entry = idempotency.Entry{
						ID: id.Draw(r, "id"), Salt: salt.Draw(r, "salt"), Created: rapid.Int64().Draw(r, "created"),
						Finished: rapid.Bool().Draw(r, "finished"), Size: uint32(len(p.Answer)),
					}
					p.Entry.Print[31] = byte(len(p.Answer))
					c.Put = append(c.Put, p)
					want[p.Entry.ID] = p
				}
				for range rapid.IntRange(0, 2).Draw(r, "deletes") {
					ref := idempotency.Ref{ID: id.Draw(r, "id"), Salt: salt.Draw(r, "salt")}
					c.Delete = append(c.Delete, ref)
					if want[ref.ID].Entry.Salt == ref.Salt {
						delete(want, ref.ID)
					}
				}
				require.NoError(r, s.Commit(ctx, c))
			},
			"reopen": func(r *rapid.T) { s = again(s) },
			"": func(r *rapid.T) {
				require.Equal(r, secret, s.Secret())
				got := entries(r, s)
				require.Len(r, got, len(want))
				for id, p := range want {
					require.Equal(r, p.Entry, got[id])
					answer, err := s.Answer(ctx, id)
					if len(p.Answer) == 0 {
						require.ErrorIs(r, err, idempotency.ErrNotFound)
						continue
					}
					require.NoError(r, err)
					require.True(r, bytes.Equal(p.Answer, answer))
				}
				_, err := s.Answer(ctx, idempotency.ID{9})
				require.ErrorIs(r, err, idempotency.ErrNotFound)
			},
		})
	})
}

func testConcurrent(t *testing.T, s idempotency.Store, again reopen) {
	const writers, each = 16, 25
	var all sync.WaitGroup
	errs := make(chan error, writers)
	for w := range writers {
		all.Go(func() {
			for i := range each {
				e := idempotency.Entry{ID: idempotency.ID{byte(w + 1), byte(i)}, Finished: true, Size: 2}
				if err := s.Commit(ctx, idempotency.Change{Put: []idempotency.Put{{Entry: e, Answer: []byte{byte(w),
					byte(i)}}}}); err != nil {
					errs <- err
					return
				}
				answer, err := s.Answer(ctx, e.ID)
				if err != nil || !bytes.Equal(answer, []byte{byte(w), byte(i)}) {
					errs <- fmt.Errorf("%d %d: %v, %w", w, i, answer, err)
					return
				}
			}
			errs <- nil
		})
	}
	all.Wait()
	for range writers {
		require.NoError(t, <-errs)
	}
	require.Len(t, entries(t, again(s)), writers*each)
}

func testContext(t *testing.T, s idempotency.Store) {
	ended, cancel := context.WithCancelCause(ctx)
	cancel(errors.New("over"))
	put := idempotency.Change{Put: []idempotency.Put{{Entry: idempotency.Entry{ID: idempotency.ID{1}}}}}
	require.ErrorIs(t, s.Commit(ended, put), context.Canceled)
	require.Empty(t, entries(t, s))
	_, err := s.Answer(ended, idempotency.ID{1})
	require.ErrorIs(t, err, context.Canceled)
	require.NoError(t, s.Commit(ctx, put))
	for _, err := range s.Load(ended) {
		require.ErrorIs(t, err, context.Canceled)
	}
}

func testCopies(t *testing.T, s idempotency.Store) {
	id, answer := idempotency.ID{1}, []byte("answer")
	require.NoError(t, s.Commit(ctx, idempotency.Change{Put: []idempotency.Put{{Entry: idempotency.Entry{ID: id}, Answer: answer}}}))
	for range 2 {
		answer[0]++
		got, err := s.Answer(ctx, id)
		require.NoError(t, err)
		require.Equal(t, "answer", string(got))
		answer = got
	}
}
