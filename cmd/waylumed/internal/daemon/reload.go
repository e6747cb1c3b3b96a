package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/waylume/waylume/cmd/waylumed/internal/config"
	"github.com/waylume/waylume/wgnode/httpapi/audit"
	"github.com/waylume/waylume/wgnode/httpapi/problem"
)

// errNoReload says that the daemon was given no way to read its configuration again.
var errNoReload = errors.New("this program was started without a configuration that can be read again")

// reload takes over what it can of a configuration that was read anew, all or nothing, and says what is different.
func (d *daemon) reload(ctx context.Context, why string) ([]config.Change, error) {
	d.reloading.Lock()
	defer d.reloading.Unlock()
	if d.Reload == nil {
		return nil, errNoReload
	}
	before := d.loaded.Load()
	next, changes, err := d.Reload(before)
	if err != nil {
		return nil, err
	}
	if d.api.certs != nil {
		if err := d.api.certs.Reload(); err != nil {
			return nil, err
		}
	}
	if err := d.api.auth.Reload(trust(next.Config)); err != nil {
		return nil, err
	}
	if err := d.node.SetNodeSpeedLimit(ctx, next.Config.Node.SpeedLimit); err != nil {
		return nil, errors.Join(err, d.api.auth.Reload(trust(before.Config)))
	}
	if err := errors.Join(d.recompose(d.api, next.Config), d.Log.Reload(next.Config.Log)); err != nil {
		return nil, err // a mistake in this program: the configuration has been checked
	}
	d.loaded.Store(next)
	if err := d.refreshControlAllow(ctx); err != nil {
		return changes, err
	}
	for _, c := range changes {
		if c.Reloadable {
			d.log.InfoContext(ctx, "took over a setting", "setting", c.Key, "old", c.Old, "new", c.New, "why", why)
		} else {
			d.log.WarnContext(ctx, "a setting waits for a restart", "setting", c.Key, "old", c.Old, "new", c.New, "why", why)
		}
	}
	return changes, nil
}

// reloadBySignal is reload, of which the log of changes has a record as of a request.
func (d *daemon) reloadBySignal(ctx context.Context) {
	err := d.audited(ctx, audit.Entry{Operation: "reload", Source: "signal", Subjects: []audit.Subject{{Kind: "node", ID: "configuration"}}},
		func() error {
			_, err := d.reload(ctx, "signal")
			return err
		})
	if err != nil {
		d.log.Error("the configuration stays as it was", "error", err)
	}
}

// audited makes a change that is no request, and has it in the log of changes, without which it is not made.
func (d *daemon) audited(ctx context.Context, e audit.Entry, change func() error) error {
	if d.api.audit == nil {
		return change()
	}
	c, err := d.api.audit.Begin(ctx, e)
	if err != nil {
		return err
	}
	err = change()
	outcome := audit.Done
	if err != nil {
		outcome = audit.Failed
	}
	return errors.Join(err, c.End(ctx, audit.Result{Outcome: outcome}))
}

// Reloaded is the answer to a request for a reload.
type Reloaded struct {
	// Applied are the settings that are in force, Waiting those that a restart is needed for.
	Applied []config.Change `json:"applied"`
	Waiting []config.Change `json:"waiting"`
}

// answerReload answers a request for a reload.
func (d *daemon) answerReload(w http.ResponseWriter, r *http.Request) {
	changes, err := d.reload(r.Context(), "request")
	if err != nil {
		p := problem.New(http.StatusUnprocessableEntity, problem.Invalid, "nothing was changed: mend the configuration and ask again").Because(err)
		if invalid := (*config.Error)(nil); errors.As(err, &invalid) {
			for _, fault := range invalid.Problems {
				p.Faults = append(p.Faults, problem.Fault{Location: fault.Key, Message: fault.String()})
			}
		} else {
			p.Detail += ": " + err.Error()
		}
		p.Write(w)
		return
	}
	answer := Reloaded{Applied: []config.Change{}, Waiting: []config.Change{}}
	for _, c := range changes {
		if c.Reloadable {
			answer.Applied = append(answer.Applied, c)
			audit.Detail(r.Context(), c.Key, c.New)
		} else {
			answer.Waiting = append(answer.Waiting, c)
		}
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(answer) // who asked is gone, then
}

// onDrain is told when the node takes no more peers, or takes them again.
func (d *daemon) onDrain(ctx context.Context, draining bool) error {
	if draining {
		d.log.InfoContext(ctx, "the node takes no new peers")
	} else {
		d.log.InfoContext(ctx, "the node takes new peers again")
	}
	return nil
}
