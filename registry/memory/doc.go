// Package memory keeps a fleet in the memory of one process: for tests, for a program that is control plane and node in one, and
// as the plainest statement of what the interfaces of package registry mean.
//
// A [Fleet] is a [registry.Registry], a [registry.Directory] and [registry.Sessions] in one. It is ready when it is made, starts no
// goroutine, touches no system, needs no privilege and has nothing to close; what it knows is gone with it.
//
//	fleet, err := memory.New(memory.Config{})
//	if err != nil {
//		return err
//	}
//	registered, err := fleet.Register(ctx, registration)
//	...
//	session, err := fleet.Begin(ctx, registry.NewSession{User: "ann", IdempotencyKey: "phone", PublicKey: key})
//
// It is safe for concurrent use: one lock is held for the time of a call, the longest of which is a selection, in proportion to
// the servers. Sessions that have ended are forgotten after [Config].Retention, all else when the process ends.
package memory
