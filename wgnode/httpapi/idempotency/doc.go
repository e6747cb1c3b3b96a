// Package idempotency makes writes over HTTP safe to send again: a client that does not know what became of a request sends it
// once more with the same Idempotency-Key, and gets the answer of the first, which ran once
// (draft-ietf-httpapi-idempotency-key-header).
//
//	store, err := boltkeys.Open("/var/lib/waylume/keys.db", boltkeys.Options{Logger: log})
//	...
//	keys, err := idempotency.New(ctx, idempotency.Config{Store: store})
//	...
//	handler = keys.Middleware(handler) // inside of authentication: a key is one of the principal's
//	go keys.Run(ctx)                   // deletes answers whose time is over
//
// # What holds
//
// A key belongs to a principal ([auth.FromContext]), a method and a path. The first request with it runs; one that is the same in
// query, content type, preconditions and body gets the same answer with Idempotency-Replayed: true; any other is refused. One
// that comes while the first is under way waits for it.
//
// Before a handler runs the intent is in the [Store], and before an answer is sent the answer is. So a process that is killed
// leaves behind, for each key, an answer, or an intent of which nobody knows how far it came. The latter runs again with the next
// request that has the key, and [Interrupted] says so to the handler: what is there already, or gone already, is a success then.
// Whatever a handler would draw at random, it derives from [Seed], and draws the same again. A handler that cannot run twice
// calls [Once].
//
// Answers of 500 and above, and 401, 403, 408, 425 and 429, are not kept. After 401, 403, 425, 429 and 503, which say that
// nothing was done, the key is as new; after the others the next request with it runs as one that was interrupted.
//
// # Secrets
//
// An answer may hold what its node keeps nowhere: a peer's private key. It is sealed with a key that is derived from the store's
// secret and the client's Idempotency-Key, which is not stored. Whoever has the file alone can open no answer whose
// Idempotency-Key he cannot guess, nor compute its seed. A UUID (version 4) cannot be guessed; "order-1" can.
//
// # Lifecycle
//
// [New] reads the store's entries. [Keys.Middleware] starts no goroutine. [Keys.Run] returns when its context ends. The store is
// its owner's to close, after the server. No privileges are needed.
package idempotency
