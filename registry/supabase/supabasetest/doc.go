// Package supabasetest is the fleet's side of docs/fleet-protocol.md in Go, over any [registry.Registry], for tests: an [http.Handler] that
// holds each request to the letter. It keeps credentials, tokens and what was used in memory.
//
//	fleet := supabasetest.New(supabasetest.Config{Registry: registry})
//	server := httptest.NewTLSServer(fleet)
//	token := fleet.NewToken(supabasetest.Token{Name: "fra-1"})
//
// It is not for production: nothing of it outlives the process, and it bounds nothing but bodies.
package supabasetest
