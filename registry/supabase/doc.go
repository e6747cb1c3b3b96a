// Package supabase is a node's way to a fleet that it reaches over HTTPS alone: a [registry.Registry] that asks functions at the
// edge, with a credential that speaks for this one node and can do nothing else. docs/fleet-protocol.md has what goes over the
// wire; examples/supabase has the functions, for Supabase, and package supabasetest the same in Go, for tests.
//
// A node is enrolled once, with a token that whoever runs the fleet has made for it:
//
//	registered, err := supabase.Enroll(ctx, supabase.EnrollConfig{
//		Config: supabase.Config{
//			CredentialFile: "/var/lib/waylume/fleet.json",
//			URLs:           []string{"https://project.supabase.co/functions/v1"},
//		},
//		Token: token, Registration: registration,
//	})
//
// From then on it opens what the enrollment left:
//
//	fleet, err := supabase.Open(supabase.Config{CredentialFile: "/var/lib/waylume/fleet.json"})
//	if err != nil {
//		return err
//	}
//	defer fleet.Close()
//	registered, err := fleet.Register(ctx, registration)
//
// # Several URLs
//
// A call asks the first URL that is not known to fail, and goes on to the next when there is no connection, no answer in time, or
// one that is not the fleet's: a status of 5xx, a redirect, a page of a proxy's. It stays with what works, and tries the URLs before it
// again after Config.ReturnAfter. What the fleet refuses is an answer, and no other URL is asked. Each sending is signed anew. A
// call does not wait and try again beyond that: package membership does, and heeds [Error.RetryAfter].
//
// # One after another
//
// A request that was given up may be carried out late, beside or after the one that took its place. All are such that it does
// no harm: docs/fleet-protocol.md says why of each. Of one there is something to be done here: a registration that arrives late
// has a higher incarnation than the one that the node knows of, so that its heartbeats are superseded by itself. The first such answer
// after a registration that was given up is therefore given as [registry.ErrUnknownServer], after which the node registers again.
//
// # Privileges and lifecycle
//
// No privilege is needed. Open reads files; nothing is sent before the first call, and no goroutine outlives Close but those of
// calls under way. The credential is kept in one file of mode 0600, which belongs to one process at a time.
package supabase
