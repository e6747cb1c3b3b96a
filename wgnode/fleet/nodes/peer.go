package nodes

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strconv"
	"strings"

	"github.com/waylume/waylume/registry"
	"github.com/waylume/waylume/registry/placement"
	"github.com/waylume/waylume/wgnode/httpapi/client"
	"github.com/waylume/waylume/wgnode/httpapi/problem"
	api "github.com/waylume/waylume/wgnode/httpapi/v1"
)

// specOf is what a node is asked for: what the session wants of a peer, and what makes it the session's.
func specOf(s registry.Session) (api.PeerSpec, error) {
	var spec api.PeerSpec
	if len(s.Peer) > 0 {
		d := json.NewDecoder(bytes.NewReader(s.Peer))
		d.DisallowUnknownFields()
		if err := d.Decode(&spec); err != nil {
			return api.PeerSpec{}, fmt.Errorf("%w: what session %s asks for is no peer of the API: %w", placement.ErrPeer, s.ID, err)
		}
		if _, err := d.Token(); !errors.Is(err, io.EOF) {
			return api.PeerSpec{}, fmt.Errorf("%w: what session %s asks for is more than one peer", placement.ErrPeer, s.ID)
		}
	}
	spec.PublicKey = api.Key(s.PublicKey)
	labels := maps.Clone(spec.Labels)
	if labels == nil {
		labels = make(map[string]string, 2)
	}
	labels[registry.SessionLabel] = string(s.ID)
	labels[registry.GenerationLabel] = strconv.FormatInt(s.Generation, 10)
	spec.Labels = labels
	if len(s.Addresses) > 0 {
		spec.Addresses = s.Addresses
	}
	return spec, nil
}

// Parts of a request that a node finds fault with, though another one may not.
const (
	atAddresses = "body.addresses"
	atAccount   = "body.account"
)

// meaning says of a node's refusal what a controller wants to know.
func meaning(err error, spec api.PeerSpec) error {
	var refused *client.Error
	if !errors.As(err, &refused) {
		return err
	}
	switch p := refused.Problem; {
	case p.Status == http.StatusConflict && p.Type == problem.Conflict && len(spec.Addresses) > 0:
		// Whether it is for the addresses, the API says in words alone. If it is for something else, it comes again without them.
		return fmt.Errorf("%w: %w", placement.ErrAddresses, err)
	case p.Status == http.StatusUnprocessableEntity && p.Type == problem.Invalid:
		addresses, others := 0, 0
		for _, f := range p.Faults {
			switch {
			case within(f.Location, atAddresses):
				addresses++
			case !within(f.Location, atAccount): // accounts are the node's own
				others++
			}
		}
		switch {
		case others > 0:
			return fmt.Errorf("%w: %w", placement.ErrPeer, err)
		case addresses > 0:
			return fmt.Errorf("%w: %w", placement.ErrAddresses, err)
		}
	}
	return err
}

// within reports whether a location is a part of a request, or in it.
func within(location, part string) bool {
	rest, ok := strings.CutPrefix(location, part)
	return ok && (rest == "" || rest[0] == '[' || rest[0] == '.')
}
