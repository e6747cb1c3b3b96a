// Package fleet makes a node a member of a fleet: it joins a [wgnode.Node] and a [registry.Registry], whichever that is, so that
// the node registers, tells how it is, gives up peers that were moved elsewhere, drains, and reports what its peers use.
//
// A [Fence] comes first, for the node asks it before it adds a peer: a session that this node was told to give up must not come
// back with a request that was late on its way.
//
//	fence, err := fleet.OpenFence(fleet.FenceConfig{File: "/var/lib/waylume/released.json"})
//	if err != nil {
//		return err
//	}
//	node, err := wgnode.New(wgnode.Config{Dataplane: dataplane, UsageLog: usage, Admit: fence.Admit})
//	if err != nil {
//		return err
//	}
//	member, err := fleet.New(fleet.Config{
//		Node: node, Fence: fence, Registry: registry, StateFile: "/var/lib/waylume/member.json",
//		Registration: registry.Registration{Name: "fra-1", EndpointV4: endpoint, APIURL: "https://fra-1.example.com:8443"},
//	})
//	if err != nil {
//		return err
//	}
//	// Once the node has started:
//	return member.Run(ctx)
//
// # What a fleet may do to a node
//
// It removes a peer with a release, and nothing else does. A registry that cannot be reached, for however long, changes nothing
// for the peers that there are; nor does one that does not know the node any more.
//
// # Peers of sessions
//
// A peer belongs to a session by its labels [registry.SessionLabel] and [registry.GenerationLabel]. Other peers are none of
// the fleet's: nothing here removes them. What they use is reported with the rest.
//
// # Usage
//
// What peers use is reported from the node's usage log, in the order in which it was logged, once. It is as new as the log's
// last readings: [wgnode.Config].UsageLogPeriod says how often those are made.
package fleet
