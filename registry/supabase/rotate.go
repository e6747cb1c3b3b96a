package supabase

import (
	"bytes"
	"context"
	"fmt"
)

// Rotate gives the node a new key, and has it be what signs. The key is in the file before the fleet is asked, so that a call that
// failed, or a process that was killed, is gone on with by the next call. The former key is kept until a call with the new one was
// answered, and signs again should the fleet not know that one. Of calls at once one follows the other.
//
// A node whose rotation was cut off after the fleet has heard of it, and that asks again only a day later, may find the former key
// revoked: then calls are registry.ErrDenied, and it has to be enrolled anew.
func (c *Client) Rotate(ctx context.Context) error {
	select {
	case c.rotating <- struct{}{}:
	case <-ctx.Done():
		return &Error{Op: "rotate", Err: context.Cause(ctx)}
	}
	defer func() { <-c.rotating }()
	next := c.keep.document().Next
	if next == nil {
		key, err := newCredential(c.cfg.Now())
		if err != nil {
			return &Error{Op: "rotate", Err: err}
		}
		if err := c.keep.change(func(d *document) { d.Next = key }); err != nil {
			return &Error{Op: "rotate", Err: err}
		}
		next = key
	}
	var answer rotated
	q := question{op: "rotate", path: "/node-enroll/rotate", take: func(body []byte) (err error) {
		answer, err = decode(body, func(r *rotated) error { return checkID(r.Credential) })
		return err
	}}
	if err := c.ask(ctx, &q, struct {
		Credential publicCredential `json:"credential"`
	}{publicCredential{next.public()}}); err != nil {
		return err
	}
	err := c.keep.change(func(d *document) {
		if d.Next == nil || !bytes.Equal(d.Next.Seed, next.Seed) {
			return
		}
		d.Former, d.Next = d.Current, nil
		d.Current = &credential{ID: answer.Credential, Seed: next.Seed, Created: next.Created}
	})
	if err != nil {
		return &Error{Op: "rotate", Err: fmt.Errorf("the new credential is not written: rotate again: %w", err)}
	}
	c.cfg.Logger.InfoContext(ctx, "credential rotated: it counts once it is used", "credential", answer.Credential)
	return nil
}

// rotated is the answer to a rotation.
type rotated struct {
	Credential string `json:"credential"`
}
