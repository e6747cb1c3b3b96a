package memory

import (
	"slices"

	"github.com/waylume/waylume/registry"
)

// What goes in or out is a copy, so that nobody changes what is kept, nor sees it change.

func cloneRegistration(r registry.Registration) registry.Registration {
	r.Position = clonePointer(r.Position)
	r.Features = slices.Clone(r.Features)
	return r
}

func cloneStatus(s registry.Status) registry.Status {
	s.Reasons = slices.Clone(s.Reasons)
	for _, f := range []**float64{&s.Load.CPU, &s.Load.Memory, &s.Load.Conntrack, &s.Load.Uplink, &s.Load.Peers} {
		*f = clonePointer(*f)
	}
	return s
}

func cloneServer(s registry.Server) registry.Server {
	s.Registration = cloneRegistration(s.Registration)
	s.Status = cloneStatus(s.Status)
	return s
}

func cloneQuery(q registry.Query) registry.Query {
	q.Position = clonePointer(q.Position)
	q.Features = slices.Clone(q.Features)
	q.Exclude = slices.Clone(q.Exclude)
	return q
}

func cloneSession(s registry.Session) registry.Session {
	s.Query = cloneQuery(s.Query)
	s.Peer = slices.Clone(s.Peer)
	s.Addresses = slices.Clone(s.Addresses)
	return s
}

func clonePointer[T any](p *T) *T {
	if p == nil {
		return nil
	}
	v := *p
	return &v
}
