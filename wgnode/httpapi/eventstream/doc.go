// Package eventstream tells what happens to a node over HTTP, as it happens: server-sent events (WHATWG HTML, section 9.2), each
// with one [Event] as JSON.
//
//	events, err := eventstream.New(eventstream.Config{Node: node})
//	...
//	mux.Handle("GET /api/v1/events", events) // whoever may not see them was refused before
//	server.RegisterOnShutdown(events.Close)  // else the server waits for streams that do not end
//
// and for a client
//
//	for event, err := range eventstream.Read(ctx, client, url, eventstream.ReadOptions{}) {
//		if err != nil {
//			return err
//		}
//		fmt.Println(event.Kind, event.Peer)
//	}
//
// # Streams
//
// A stream begins with the next event, or goes on after the one whose id the client gives as Last-Event-ID or as the query
// parameter last_event_id. What it cannot give any more is told by an event of kind "missed". The parameters kind, peer and
// account choose events; each may be given more than once.
//
// A stream keeps nothing but its place in the node's own buffer of events: a slow reader holds nobody up, and is told how many it
// has missed. One that does not take what it is sent within Config.WriteTimeout is cut off.
//
// # Lifecycle
//
// [Handler.Close] ends all streams with an event of kind "end", as the end of the node does. There are no goroutines besides
// those of the server. No privileges are needed.
package eventstream
