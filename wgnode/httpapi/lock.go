package httpapi

import (
	"context"
	"hash/maphash"

	"golang.org/x/sync/semaphore"

	"github.com/waylume/waylume/wgnode"
)

// locks have the requests about one peer or account change it one after the other, so that what If-Match asks for is so still when the
// change is made, and what is changed in steps is nobody else's meanwhile. Requests about others go on beside them: a node has many
// changes share one wait for the disk. What is told of a peer depends on its account as well; a change of the account counts as if it
// came after.
type locks struct {
	all     *semaphore.Weighted // who changes anything has 1, who lets nobody has everybody
	seed    maphash.Seed
	stripes [256]chan struct{} // subjects that share one wait for each other
}

const everybody = 1 << 30

func newLocks() *locks {
	l := &locks{all: semaphore.NewWeighted(everybody), seed: maphash.MakeSeed()}
	for i := range l.stripes {
		l.stripes[i] = make(chan struct{}, 1)
	}
	return l
}

// share is for changes of what is nobody's yet, or made in one step whatever there is. Errors are those of ctx.
func (l *locks) share(ctx context.Context) (release func(), err error) {
	if err := l.all.Acquire(ctx, 1); err != nil {
		return nil, err
	}
	return func() { l.all.Release(1) }, nil
}

// of is for changes of a peer or an account.
func (l *locks) of(ctx context.Context, s wgnode.Subject) (release func(), err error) {
	unshare, err := l.share(ctx)
	if err != nil {
		return nil, err
	}
	stripe := l.stripes[maphash.Comparable(l.seed, s)%uint64(len(l.stripes))]
	select {
	case stripe <- struct{}{}:
		return func() { <-stripe; unshare() }, nil
	case <-ctx.Done():
		unshare()
		return nil, ctx.Err()
	}
}

// alone waits until nobody changes anything, and lets nobody begin.
func (l *locks) alone(ctx context.Context) (release func(), err error) {
	if err := l.all.Acquire(ctx, everybody); err != nil {
		return nil, err
	}
	return func() { l.all.Release(everybody) }, nil
}
