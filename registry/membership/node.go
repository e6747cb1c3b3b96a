package membership

import (
	"context"
	"time"

	"github.com/waylume/waylume/registry"
)

// Node is what a [Member] asks of the node that it speaks for. Its methods are called with a time-out in their context, and never
// two calls of the same method at once.
type Node interface {
	// Registration is what the node says of itself when it joins. It is asked anew each time.
	Registration(ctx context.Context) (registry.Registration, error)
	// Status is how the node is now. An error is told to the fleet as a node that fails.
	Status(ctx context.Context) (registry.Status, error)
	// Release removes the peers of these sessions, in these generations and lower ones, and sees to it that they cannot come
	// back, across restarts: that is on the disk before a peer goes. What was carried out before is no error. The releases are in
	// order and at most registry.MaxReleases; after an error all of them come again.
	Release(ctx context.Context, releases []registry.Release) error
}

// UsageSource has what peers have used, in the order in which it became known. A place in it is a string that only it can
// read, at most MaxCursor bytes; "" is the beginning of all that is known. What is behind a place never changes, but for
// what is not kept any longer.
type UsageSource interface {
	// UsageAfter returns what follows a place, at most limit usages.
	UsageAfter(ctx context.Context, after string, limit int) (UsageChunk, error)
	// UsageOf returns what lies between two places that UsageAfter was asked with and returned: the same as then.
	UsageOf(ctx context.Context, after, upTo string) (UsageChunk, error)
}

// MaxCursor is how many bytes a place in a UsageSource has at most.
const MaxCursor = 1024

// UsageChunk is what peers used between two places.
type UsageChunk struct {
	// Usages may be none although Next has moved on: then nothing was used.
	Usages []registry.PeerUsage
	// From and To are the times that the usages belong to.
	From, To time.Time
	// Next is the place at the end; that which was asked for if nothing follows.
	Next string
	// More says that something follows Next.
	More bool
	// Lost says that something is missing which is not kept any longer, or cannot be read.
	Lost bool
}
