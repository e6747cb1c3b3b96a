package httpapi

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/waylume/waylume/quota"
	"github.com/waylume/waylume/shaping"
	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/httpapi/problem"
	api "github.com/waylume/waylume/wgnode/httpapi/v1"
)

// settingsOf are what of a peer can be changed.
func settingsOf(p wgnode.Peer) api.PeerSettings {
	return api.PeerSettings{
		Account: p.Account, SpeedLimit: speedLimitOf(p.SpeedLimit), DataCap: dataCapOf(p.DataCap), ExpiresAt: p.ExpiresAt,
		GracePeriod: api.Duration(p.GracePeriod), IdleTimeout: api.Duration(p.IdleTimeout), Suspended: p.Suspended,
	}
}

// step is one part of a change that the node makes part by part.
type step struct {
	do, undo func(ctx context.Context) error
}

// patchPeer makes of a peer what a merge patch says. All is checked first. The caller holds the lock.
func (a *API) patchPeer(ctx context.Context, p wgnode.Peer, patch []byte) error {
	after, err := merged(settingsOf(p), patch)
	if err != nil {
		return invalid([]problem.Fault{{Location: "body", Message: inWords(err.Error())}})
	}
	limit, newCap := speedLimit(after.SpeedLimit), dataCap(after.DataCap)
	grace, idle := time.Duration(after.GracePeriod), time.Duration(after.IdleTimeout)

	var f faults
	if after.Account != p.Account && after.Account != "" {
		if _, err := a.cfg.Node.Account(after.Account); errors.Is(err, wgnode.ErrNotFound) {
			f.add("account", "%q does not exist: create it with PUT %s/accounts/{id}", abridge(after.Account), Prefix)
		} else if err != nil {
			return err
		}
	}
	f.limit(limit)
	f.dataCap(newCap)
	if !after.ExpiresAt.Equal(p.ExpiresAt) && !after.ExpiresAt.IsZero() && !after.ExpiresAt.After(time.Now()) {
		f.add("expires_at", "%s is past", after.ExpiresAt.Format(time.RFC3339))
	}
	if grace < 0 || grace > wgnode.MaxGracePeriod {
		f.add("grace_period", "is %v: it must be 0 to %v", grace, wgnode.MaxGracePeriod)
	}
	if idle != 0 && idle < wgnode.MinIdleTimeout || idle > wgnode.MaxIdleTimeout {
		f.add("idle_timeout", "is %v: it must be %v to %v, or 0 for never", idle, wgnode.MinIdleTimeout, wgnode.MaxIdleTimeout)
	}
	if len(f) > 0 {
		return invalid(f)
	}

	n, s := a.cfg.Node, wgnode.OfPeer(p.PublicKey)
	var steps []step
	add := func(differs bool, set func(context.Context, bool) error) {
		if differs {
			steps = append(steps, step{
				do:   func(ctx context.Context) error { return set(ctx, false) },
				undo: func(ctx context.Context) error { return set(ctx, true) },
			})
		}
	}
	// A peer is closed before all else, and opened after. A cap comes last of the rest, as to set another period and then the
	// former one again begins a new one.
	add(after.Suspended && !p.Suspended, suspension(n, s, true))
	add(after.Account != p.Account, func(ctx context.Context, back bool) error {
		return n.MovePeer(ctx, p.PublicKey, either(back, p.Account, after.Account))
	})
	add(limit != p.SpeedLimit, func(ctx context.Context, back bool) error {
		return n.SetSpeedLimit(ctx, s, either(back, p.SpeedLimit, limit))
	})
	add(!after.ExpiresAt.Equal(p.ExpiresAt), func(ctx context.Context, back bool) error {
		return n.SetExpiry(ctx, s, either(back, p.ExpiresAt, after.ExpiresAt))
	})
	add(grace != p.GracePeriod, func(ctx context.Context, back bool) error {
		return n.SetGracePeriod(ctx, s, either(back, p.GracePeriod, grace))
	})
	add(idle != p.IdleTimeout, func(ctx context.Context, back bool) error {
		return n.SetIdleTimeout(ctx, s, either(back, p.IdleTimeout, idle))
	})
	add(!newCap.Equal(p.DataCap), func(ctx context.Context, back bool) error {
		return n.SetDataCap(ctx, s, either(back, p.DataCap, newCap))
	})
	add(!after.Suspended && p.Suspended, suspension(n, s, false))
	return perform(ctx, steps)
}

// suspension returns what suspends or resumes a subject, or takes that back.
func suspension(n *wgnode.Node, s wgnode.Subject, on bool) func(context.Context, bool) error {
	return func(ctx context.Context, back bool) error {
		if on != back {
			return n.Suspend(ctx, s)
		}
		return n.Resume(ctx, s)
	}
}

func either[T any](first bool, a, b T) T {
	if first {
		return a
	}
	return b
}

// undoTimeout is what taking back may take when the one who asked has given up.
const undoTimeout = 10 * time.Second

// perform takes steps, and takes all back when one fails.
func perform(ctx context.Context, steps []step) error {
	for i, s := range steps {
		err := s.do(ctx)
		if err == nil {
			continue
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
		defer cancel()
		for j := i - 1; j >= 0; j-- {
			if back := steps[j].undo(ctx); back != nil {
				err = errors.Join(err, fmt.Errorf("take back: %w", back))
			}
		}
		return err
	}
	return nil
}

// faults gathers what is wrong with a body.
type faults []problem.Fault

func (f *faults) add(field, format string, args ...any) {
	*f = append(*f, problem.Fault{Location: "body." + field, Message: fmt.Sprintf(format, args...)})
}

func (f *faults) limit(l shaping.Limit) {
	f.rate("speed_limit.download", l.Download)
	f.rate("speed_limit.upload", l.Upload)
}

func (f *faults) rate(field string, r shaping.Rate) {
	if err := r.Validate(); err != nil {
		f.add(field, "%s", inWords(err.Error()))
	}
}

func (f *faults) dataCap(c quota.Cap) {
	f.each(c.Validate())
	if c.AtEnd == quota.Throttle {
		f.rate("data_cap.throttle_download", shaping.Rate(c.ThrottleDownload))
		f.rate("data_cap.throttle_upload", shaping.Rate(c.ThrottleUpload))
	}
}

// each adds what quota has found, which may be several things joined.
func (f *faults) each(err error) {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range joined.Unwrap() {
			f.each(e)
		}
	} else if e, ok := errors.AsType[*quota.CapError](err); ok {
		f.add("data_cap."+location(e.Field), "%s %s", abridge(e.Value), inWords(e.Problem))
	}
}
