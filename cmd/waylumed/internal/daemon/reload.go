package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

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
	if err := d.takeOver(ctx, before.Config, next.Config); err != nil {
		return nil, err
	}
	d.loaded.Store(next)
	d.log.InfoContext(ctx, "read the configuration anew", "changes", len(changes), "why", why)
	for _, c := range changes {
		if c.Reloadable {
			d.log.InfoContext(ctx, "took over a setting", "setting", c.Key, "old", c.Old, "new", c.New, "why", why)
		} else {
			d.log.WarnContext(ctx, "a setting waits for a restart", "setting", c.Key, "old", c.Old, "new", c.New, "why", why)
		}
	}
	return changes, nil
}

// takeOver puts a configuration in force in place of another: all of it or nothing. What can fail comes first, and what it
// has changed is taken back if something after it fails.
func (d *daemon) takeOver(ctx context.Context, before, next config.Config) (err error) {
	handler, err := d.compose(d.api, next)
	if err != nil {
		return err
	}
	certificates := func() {}
	if d.api.certs != nil {
		if certificates, err = d.api.certs.Prepare(); err != nil {
			return err
		}
	}
	set := func(ctx context.Context, cfg config.Config) error {
		return errors.Join(d.node.SetNodeSpeedLimit(ctx, cfg.Node.SpeedLimit), d.allowed.configure(ctx, cfg.Node.ControlAllow),
			d.Log.Reload(cfg.Log))
	}
	if err = set(ctx, next); err == nil {
		err = d.trusting(next, d.api.auth.Reload) // which changes nothing if it fails
	}
	if err != nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTime)
		defer cancel()
		if back := set(ctx, before); back != nil {
			err = errors.Join(err, fmt.Errorf("take back: %w", back))
		}
		return err
	}
	certificates()
	d.api.handler.Store(&handler)
	d.api.events.Renew() // whose streams there are may be trusted no more
	return nil
}

// undoTime is how long it may take to take back what a reload has changed.
const undoTime = 10 * time.Second

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
	return d.fleet.drained(ctx, draining)
}
