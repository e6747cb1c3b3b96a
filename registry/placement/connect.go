package placement

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/waylume/waylume/registry"
)

// Connect begins a session and has a server serve it. The same user and idempotency key again return the same session: as it is,
// if it is active and its server is there; carried on, if nobody had finished; moved, if its server is gone meanwhile. Errors: ErrEnded;
// ErrPeer; [registry.ErrNoServer] and ErrNoNode, after which asking again may help; those of [registry.Sessions].Begin; and that
// of the context.
func (c *Controller) Connect(ctx context.Context, n registry.NewSession) (Connection, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	again := func() (registry.Session, error) { return c.cfg.Sessions.Begin(ctx, n) }
	s, err := c.ask(again)
	if err != nil {
		return Connection{}, err
	}
	if s.State != registry.Active {
		return c.settle(ctx, s, again)
	}
	return c.present(ctx, s, again)
}

// present returns an active session, on another server if its own is not there any more.
func (c *Controller) present(ctx context.Context, s known, again func() (registry.Session, error)) (Connection, error) {
	server, ok, err := c.servers.get(ctx, s.Server)
	if err != nil {
		return Connection{}, err
	}
	as := Connection{Session: s.Session, Server: server, Peer: Peer{Addresses: s.Addresses}}
	if ok {
		stranded, err := c.stranded(ctx, server)
		if err != nil || !stranded {
			return as, err
		}
		// What is remembered of it may be some seconds old.
		all, err := c.servers.list(ctx)
		if err != nil {
			return Connection{}, err
		}
		if server, ok = all[s.Server]; ok {
			as.Server = server
			if stranded, err = c.stranded(ctx, server); err != nil || !stranded {
				return as, err
			}
		}
	}
	moved, err := c.ask(func() (registry.Session, error) { return c.cfg.Sessions.Move(ctx, s.ID, s.Generation) })
	switch {
	case errors.Is(err, registry.ErrNoServer) && ok:
		return as, nil // a server that is silent may serve all the same
	case errors.Is(err, registry.ErrConflict):
		if moved, err = c.ask(again); err != nil {
			return Connection{}, err
		}
	case err != nil:
		return Connection{}, err
	}
	return c.settle(ctx, moved, again)
}

// stranded says whether sessions of a server are to be moved, by the registry's clock.
func (c *Controller) stranded(ctx context.Context, server registry.Server) (bool, error) {
	if server.Draining {
		return true, nil
	}
	selection, err := c.cfg.Directory.Select(ctx, registry.Query{Pool: server.Pool})
	if err != nil && !errors.Is(err, registry.ErrNoServer) {
		return false, err
	}
	return !server.Fresh(selection.At, c.cfg.Freshness), nil
}

// settle has the owner of a session make its peer, or others after it. again asks for the session as it is.
func (c *Controller) settle(ctx context.Context, s known, again func() (registry.Session, error)) (Connection, error) {
	var tried []registry.ID
	var failed []error
	for {
		switch {
		case s.State == registry.Ended:
			return Connection{}, fmt.Errorf("%w (%s)", ErrEnded, s.ID)
		case s.State == registry.Active: // another controller was faster
			server, _, err := c.servers.get(ctx, s.Server)
			return Connection{Session: s.Session, Server: server, Peer: Peer{Addresses: s.Addresses}}, err
		case ctx.Err() != nil:
			return Connection{}, errors.Join(append(failed, ctx.Err())...)
		}
		connection, err := c.try(ctx, s)
		var next known
		switch {
		case err == nil:
			return connection, nil
		case errors.Is(err, registry.ErrConflict), errors.Is(err, errOld): // it has moved on, or may have
			if next, err = c.ask(again); err != nil {
				return Connection{}, errors.Join(append(failed, err)...)
			}
			s = next
			continue
		case errors.Is(err, ErrPeer):
			_, ended := c.cfg.Sessions.End(ctx, s.ID, "refused")
			return Connection{}, errors.Join(err, ended)
		case errors.Is(err, errRegistry), ctx.Err() != nil:
			return Connection{}, errors.Join(append(failed, err)...)
		}
		failed = append(failed, err)
		tried = append(tried, s.Server)
		c.cfg.Logger.Warn("a server did not take a session", "session", s.ID, "generation", s.Generation, "server", s.Server, "error", err)
		if len(tried) >= c.cfg.Tries {
			return Connection{}, fmt.Errorf("%w: %w", ErrNoNode, errors.Join(failed...))
		}
		next, err = c.ask(func() (registry.Session, error) {
			return c.cfg.Sessions.Move(ctx, s.ID, s.Generation, slices.Clone(tried)...)
		})
		if errors.Is(err, registry.ErrConflict) {
			next, err = c.ask(again)
		}
		if err != nil {
			return Connection{}, errors.Join(append(failed, err)...)
		}
		s = next
	}
}

var (
	// errOld: too long ago to ask a node.
	errOld = errors.New("the registry was asked too long ago")
	// errRegistry: it is not the node that failed.
	errRegistry = errors.New("asking the registry")
)

// try has the owner make the peer, and tells the registry.
func (c *Controller) try(ctx context.Context, s known) (Connection, error) {
	server, ok, err := c.servers.get(ctx, s.Server)
	switch {
	case err != nil:
		return Connection{}, fmt.Errorf("%w for %s: %w", errRegistry, s.Server, err)
	case !ok:
		return Connection{}, fmt.Errorf("%w: %s", registry.ErrUnknownServer, s.Server)
	}
	peer, err := c.create(ctx, server, s)
	if err != nil {
		return Connection{}, err
	}
	confirmed, err := c.cfg.Sessions.Confirm(ctx, s.ID, s.Generation, peer.Addresses)
	if err != nil {
		return Connection{}, fmt.Errorf("%w to confirm session %s: %w", errRegistry, s.ID, err)
	}
	return Connection{Session: confirmed, Server: server, Peer: peer}, nil
}

// create asks for the addresses that the session had, and, if these are not free, for any.
func (c *Controller) create(ctx context.Context, server registry.Server, s known) (Peer, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.CreateTimeout)
	defer cancel()
	if c.old(s) {
		return Peer{}, errOld
	}
	peer, err := c.cfg.Nodes.Create(ctx, server, s.Session)
	if errors.Is(err, ErrAddresses) && len(s.Addresses) > 0 {
		if c.old(s) {
			return Peer{}, errOld
		}
		without := s.Session
		without.Addresses = nil
		peer, err = c.cfg.Nodes.Create(ctx, server, without)
	}
	if err != nil {
		return Peer{}, fmt.Errorf("asking %s for the peer of session %s: %w", server.Name, s.ID, err)
	}
	return peer, nil
}
