package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/waylume/waylume/registry/membership"
	"github.com/waylume/waylume/registry/supabase"
	"github.com/waylume/waylume/wgnode/httpapi"
	"github.com/waylume/waylume/wgnode/httpapi/auth"
	"github.com/waylume/waylume/wgnode/httpapi/problem"
	wire "github.com/waylume/waylume/wgnode/httpapi/v1"
)

// leaveTime is how long the node tries to leave its fleet while somebody waits.
const leaveTime = 20 * time.Second

// mountFleet adds what is about the node's fleet.
func (d *daemon) mountFleet(a *api) {
	for _, op := range []struct {
		id, method, path, summary, description string
		do                                     func(context.Context, *fleetTask) error
	}{
		{
			"get-fleet", http.MethodGet, "/node/fleet", "How the node stands with its fleet",
			"Its phase, its ID, and what waits to be told. 404 if it is in none.",
			func(context.Context, *fleetTask) error { return nil },
		},
		{
			"rotate-fleet-credential", http.MethodPost, "/node/fleet/rotate", "Another key for what the node says to its fleet",
			"The former one is revoked with the first use of the new one. To ask again after a failure is safe.",
			func(ctx context.Context, t *fleetTask) error { return t.rotate(ctx) },
		},
		{
			"leave-fleet", http.MethodPost, "/node/fleet/leave", "Take the node off its fleet",
			"What peers used is reported, and their sessions are moved; the peers stay until they are removed. It joins again when it is started.",
			func(ctx context.Context, t *fleetTask) error { return t.leave(ctx) },
		},
	} {
		a.routes.Mount(huma.Operation{
			OperationID: op.id, Method: op.method, Path: httpapi.Prefix + op.path, Tags: []string{"node"}, Summary: op.summary,
			Description: op.description,
		}, auth.NodeAdmin, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { d.answerFleet(w, r, op.do) }))
	}
}

// errNotJoined: there is no way to the fleet yet, so that nothing can be asked there.
var errNotJoined = errors.New("the node has not joined its fleet yet: its log says why")

// answerFleet does what is asked, and answers with how the node stands with its fleet then.
func (d *daemon) answerFleet(w http.ResponseWriter, r *http.Request, do func(context.Context, *fleetTask) error) {
	if d.fleet == nil {
		problem.New(http.StatusNotFound, problem.NotFound, "the node is in no fleet: fleet.url and fleet.database are none").Write(w)
		return
	}
	if err := do(r.Context(), d.fleet); err != nil {
		status, kind := http.StatusServiceUnavailable, problem.Unavailable
		if errors.Is(err, errNoCredential) {
			status, kind = http.StatusConflict, problem.Conflict
		}
		problem.New(status, kind, err.Error()).Because(err).Write(w)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(d.fleet.inWords()) // who asked is gone, then
}

// errNoCredential: the node asks a database.
var errNoCredential = errors.New("the node has no credential in its fleet, whose database it asks itself: change the role's password")

// rotate gives the node another key for what it says to the fleet.
func (t *fleetTask) rotate(ctx context.Context) error {
	t.mu.Lock()
	asked := t.asked
	t.mu.Unlock()
	switch client, ok := asked.(*supabase.Client); {
	case asked == nil:
		return errNotJoined
	case !ok:
		return errNoCredential
	default:
		return client.Rotate(ctx)
	}
}

// leave takes the node off the fleet.
func (t *fleetTask) leave(ctx context.Context) error {
	t.mu.Lock()
	member := t.member
	t.mu.Unlock()
	if member == nil {
		return errNotJoined
	}
	ctx, cancel := context.WithTimeout(ctx, leaveTime)
	defer cancel()
	return member.Leave(ctx)
}

// inWords is how the node stands with its fleet.
func (t *fleetTask) inWords() wire.Fleet {
	t.mu.Lock()
	member, asked := t.member, t.asked
	t.mu.Unlock()
	if member == nil {
		return wire.Fleet{Phase: string(membership.Joining)}
	}
	s := member.State()
	f := wire.Fleet{
		Phase: string(s.Phase), Since: s.Since, Server: string(s.Server), Registered: s.Registered, LastSuccess: s.LastSuccess,
		Draining: s.Draining, FleetDraining: s.FleetDraining, UsageReports: s.UsageSequence, UsagePending: s.PendingUsage,
		PendingReleases: s.PendingReleases,
	}
	if s.LastError != nil {
		f.Error = s.LastError.Error()
	}
	if client, ok := asked.(*supabase.Client); ok {
		info := client.Info()
		f.Credential, f.CredentialCreated = info.Credential, info.Created
	}
	return f
}
