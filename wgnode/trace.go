package wgnode

import (
	"context"
	"strings"
)

// Operation is a part of what a node does, as its [Tracer] is told of it.
type Operation struct {
	// Name is what is done: "add peer", "write to store", "nftables transaction". The names are few, and say nothing of whom it is
	// done to.
	Name string
	// Subject is whom it concerns; zero: the node, several, or a peer whose key is yet to be made.
	Subject Subject
	// Items is how many peers, accounts or records there are to it; 0: it is not counted.
	Items int
}

// Tracer is told of what a node does as it is done: where the time goes. Its methods are called from any goroutine, and must not
// call the node.
type Tracer interface {
	// Begin is called before an operation. ctx is that of the operation which it is a part of, or of the caller; what is returned
	// is that of its own parts. The function is called once when it has ended, with what became of it.
	Begin(ctx context.Context, op Operation) (context.Context, func(error))
}

type tracerKey struct{}

// Trace tells the node's [Tracer] of an operation within one that the node has begun; it is for dataplanes and stores, which find
// the tracer in the context of a call. Without one it costs a look-up.
func Trace(ctx context.Context, op Operation) (context.Context, func(error)) {
	t, ok := ctx.Value(tracerKey{}).(Tracer)
	if !ok {
		return ctx, untold
	}
	return t.Begin(ctx, op)
}

func untold(error) {}

// trace tells the node's tracer of an operation.
func (n *Node) trace(ctx context.Context, name string, s Subject, items int) (context.Context, func(error)) {
	if n.cfg.Tracer == nil {
		return ctx, untold
	}
	if ctx.Value(tracerKey{}) == nil {
		ctx = context.WithValue(ctx, tracerKey{}, n.cfg.Tracer)
	}
	return n.cfg.Tracer.Begin(ctx, Operation{Name: name, Subject: s, Items: items})
}

// traced is do as an operation of the node.
func (n *Node) traced(ctx context.Context, name string, s Subject, do func(context.Context) error) error {
	ctx, end := n.trace(ctx, strings.TrimSuffix(name, " of"), s, 0)
	err := do(ctx)
	end(err)
	return err
}

// apply makes a change in the dataplane.
func (n *Node) apply(ctx context.Context, change Change) error {
	ctx, end := n.trace(ctx, "apply to dataplane", change.subject(), change.size())
	err := n.cfg.Dataplane.Apply(ctx, change)
	end(err)
	return err
}

func (c Change) size() int {
	return len(c.SetAccounts) + len(c.RemovePeers) + len(c.SetPeers) + len(c.RemoveAccounts)
}

// subject is whom a change concerns, if that is one.
func (c Change) subject() Subject {
	switch {
	case c.size() != 1:
		return Subject{}
	case len(c.SetPeers) == 1:
		return OfPeer(c.SetPeers[0].PublicKey)
	case len(c.RemovePeers) == 1:
		return OfPeer(c.RemovePeers[0])
	case len(c.SetAccounts) == 1:
		return OfAccount(c.SetAccounts[0].ID)
	}
	return OfAccount(c.RemoveAccounts[0])
}
