package placement

import (
	"context"
	"sync"
	"time"

	"github.com/waylume/waylume/registry"
)

// remember is how long a list of servers is good for finding one that is named.
const remember = 5 * time.Second

// servers finds a server by its ID.
type servers struct {
	directory registry.Directory
	now       func() time.Time

	mu   sync.Mutex
	byID map[registry.ID]registry.Server
	at   time.Time
}

// get returns a server; that there is none is no error.
func (s *servers) get(ctx context.Context, id registry.ID) (server registry.Server, ok bool, err error) {
	s.mu.Lock()
	server, ok = s.byID[id]
	age := s.now().Sub(s.at)
	s.mu.Unlock()
	if ok && age >= 0 && age < remember {
		return server, true, nil
	}
	byID, err := s.list(ctx)
	if err != nil {
		return registry.Server{}, false, err
	}
	server, ok = byID[id]
	return server, ok, nil
}

// list asks for all servers. Nobody changes the map that it returns.
func (s *servers) list(ctx context.Context) (map[registry.ID]registry.Server, error) {
	at := s.now()
	all, err := s.directory.List(ctx, registry.Filter{})
	if err != nil {
		return nil, err
	}
	byID := make(map[registry.ID]registry.Server, len(all))
	for _, server := range all {
		byID[server.ID] = server
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.byID, s.at = byID, at
	return byID, nil
}
