package ask

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/waylume/waylume/wgnode/httpapi/client"
	api "github.com/waylume/waylume/wgnode/httpapi/v1"
)

const (
	// minPrefix is how much of a key names a peer at least, in characters.
	minPrefix = 4
	// pageSize is how many peers are asked for at once.
	pageSize = 1000
	// maxCandidates is how many peers an error lists.
	maxCandidates = 10
)

// ErrNoPeer says that no peer is called so.
var ErrNoPeer = errors.New("there is no such peer")

// AmbiguousError is a name or a part of a key that several peers have.
type AmbiguousError struct {
	Name string
	// Candidates are some of them, and Number is how many there are.
	Candidates []api.Peer
	Number     int
}

// Error lists the candidates.
func (e *AmbiguousError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%q may be any of %d peers: give the key of the one that is meant, or more of it", e.Name, e.Number)
	for _, p := range e.Candidates {
		fmt.Fprintf(&b, "\n  %s", p.PublicKey)
		if p.Name != "" {
			fmt.Fprintf(&b, "  %s", p.Name)
		}
		if p.Account != "" {
			fmt.Fprintf(&b, ", account %s", p.Account)
		}
	}
	if more := e.Number - len(e.Candidates); more > 0 {
		fmt.Fprintf(&b, "\n  and %d more", more)
	}
	return b.String()
}

// Find returns the peers that are called so, in the same order, each once: by id or public key, by the first characters of the
// key, at least 4, or by name. All that cannot be told is in the error.
func Find(ctx context.Context, c *client.Client, names []string) ([]api.Peer, error) {
	found := make([]*candidates, len(names))
	search := false
	var problems []error
	for i, name := range names {
		found[i] = &candidates{}
		var key api.Key
		if key.UnmarshalText([]byte(name)) != nil {
			search = true
			continue
		}
		found[i].whole = true
		switch p, _, err := c.Peer(ctx, key); {
		case errors.Is(err, client.ErrNotFound):
			problems = append(problems, fmt.Errorf("%w with the key %s: 'waylumed peers list' shows those that there are", ErrNoPeer, key))
		case err != nil:
			return nil, err
		default:
			found[i].add(p)
		}
	}
	if search {
		for p, err := range c.Peers(ctx, client.PeerQuery{Page: pageSize}) {
			if err != nil {
				return nil, err
			}
			for i, name := range names {
				if !found[i].whole && called(p, name) {
					found[i].add(p)
				}
			}
		}
	}
	var peers []api.Peer
	seen := make(map[api.Key]bool)
	for i, name := range names {
		switch f := found[i]; {
		case f.number == 0 && !f.whole:
			problems = append(problems, fmt.Errorf("%w as %q, neither by its name nor by how its key begins: "+
				"'waylumed peers list' shows those that there are", ErrNoPeer, name))
		case f.number > 1:
			problems = append(problems, &AmbiguousError{name, f.some, f.number})
		case f.number == 1 && !seen[f.some[0].PublicKey]:
			seen[f.some[0].PublicKey] = true
			peers = append(peers, f.some[0])
		}
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	return peers, nil
}

// candidates are peers that a name may mean.
type candidates struct {
	whole  bool // the name is a whole key
	some   []api.Peer
	number int
}

func (c *candidates) add(p api.Peer) {
	if c.number++; len(c.some) < maxCandidates {
		c.some = append(c.some, p)
	}
}

// called reports that a peer is called so.
func called(p api.Peer, name string) bool {
	if name == "" {
		return false
	}
	return p.Name == name || len(name) >= minPrefix && (strings.HasPrefix(p.PublicKey.String(), name) || strings.HasPrefix(p.ID,
		name))
}
