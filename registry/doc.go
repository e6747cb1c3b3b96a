// Package registry is what a fleet of nodes knows of itself: which servers there are, how they are, which of them a session
// goes to, and which of them serves it now.
//
// Three small interfaces divide it by who asks. A node needs a [Registry]: it registers, sends heartbeats, drains and leaves.
// A control plane needs a [Directory], which lists servers and selects one, and [Sessions], which places a session on a server
// and moves it to another. Package memory has all three in the process, package postgres in a database; package supabase is a
// Registry that asks edge functions over HTTPS. Package registrytest has the suite that each of them passes, and package placement the
// loop of a control plane over all of them.
//
//	fleet, err := memory.New(memory.Config{})
//	...
//	registered, err := fleet.Register(ctx, registry.Registration{Name: "fra-1", PublicKey: key, EndpointV4: endpoint})
//	if err != nil {
//		return err
//	}
//	answer, err := fleet.Heartbeat(ctx, registry.Heartbeat{Server: registered.Server, Incarnation: registered.Incarnation, Sequence: 1})
//
// [Select] is the rule by which a server is chosen: a pure function of the servers, a query and the time, which says of every
// server why it was chosen or was not. The database has the same rule in SQL, and a test holds the two to each other.
//
// # Who serves a session
//
// A session has one owner at a time: the server of its latest placement. Each placement has a generation, one higher than
// that before. [Sessions].Move takes the generation that the caller knows, and fails with [ErrConflict] if the session has moved on,
// so that of two who move it at once one wins. A server that loses a session is told so by a [Release], which waits for it
// however long it is cut off, and which it carries out before anything of that generation or a lower one can come back.
//
// # Outages
//
// Nothing here is on the path of a packet. A node goes on serving the peers that it has for as long as a registry cannot be
// reached; what it has used meanwhile is reported afterwards, once.
package registry
