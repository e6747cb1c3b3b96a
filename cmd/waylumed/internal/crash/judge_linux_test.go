package crash

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/waylume/waylume/cmd/waylumed/internal/state"
	"github.com/waylume/waylume/quota"
	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/keyfile"
)

func plus(a, b quota.Counters) quota.Counters {
	return quota.Counters{Download: a.Download + b.Download, Upload: a.Upload + b.Upload}
}

func minus(a, b quota.Counters) quota.Counters {
	return quota.Counters{Download: a.Download - b.Download, Upload: a.Upload - b.Upload}
}

// within reports whether both counters of c are between those of two others.
func within(low, c, high quota.Counters) bool {
	return low.Download <= c.Download && c.Download <= high.Download && low.Upload <= c.Upload && c.Upload <= high.Upload
}

// owner is a peer or an account, and which peers' traffic is its own.
type owner struct {
	subject wgnode.Subject
	name    string
	peers   []int
}

func (h *harness) owners() (all []owner) {
	members := make(map[string][]int)
	for i, p := range h.peers {
		all = append(all, owner{wgnode.OfPeer(p.peer.PublicKey), p.peer.PublicKey.String(), []int{i}})
		if p.peer.Account != "" {
			members[p.peer.Account] = append(members[p.peer.Account], i)
		}
	}
	for id, peers := range members {
		all = append(all, owner{wgnode.OfAccount(id), id, peers})
	}
	return all
}

// sum adds up what tallies have of an owner.
func (o owner) sum(tallies []tally) (t tally) {
	for _, i := range o.peers {
		t.came, t.sent = plus(t.came, tallies[i].came), plus(t.sent, tallies[i].sent)
	}
	return t
}

// judge checks what the state has of usage after a life, and that no cap let more pass than it had left. First and last are what
// passed before the life and by its end; came by when all must be stored; nil: that was before the life.
func (h *harness) judge(now map[recordID]string, first, came, last []tally) error {
	var errs []error
	for _, o := range h.owners() {
		id := usageID(o.subject)
		before, err := usageOf(h.before, id)
		if _, ok := h.before[id]; !ok {
			continue // it expired
		}
		if err != nil {
			return err
		}
		begun, ended := o.sum(first), o.sum(last)
		passed := minus(ended.came, begun.came)
		low, high := before.Counters, plus(before.Counters, minus(ended.sent, begun.sent))
		if came != nil {
			low = plus(low, minus(o.sum(came).came, begun.came))
		}
		limit := before.Ledger.Cap()
		left := uint64(before.Ledger.Usage(time.Now(), before.Counters).Remaining)
		if n := passed.Of(limit.Counted); limit.Bytes > 0 && limit.AtEnd == quota.Block && n > left {
			errs = append(errs, fmt.Errorf("%d bytes have passed of %s, whose cap %v had %d left", n, o.name, limit, left))
		}
		if _, ok := now[id]; !ok {
			continue
		}
		after, err := usageOf(now, id)
		if err != nil {
			return err
		}
		if !within(low, after.Counters, high) && o.name != h.peers[h.expiring].peer.PublicKey.String() {
			errs = append(errs, fmt.Errorf("%s has used %v by the state, want %v to %v", o.name, after.Counters, low, high))
		}
		if !within(after.Counters, after.Counters, high) {
			errs = append(errs, fmt.Errorf("%s has used %v by the state, and no more than %v was sent", o.name, after.Counters, high))
		}
		if total := plus(before.Counters, passed).Of(quota.CountBoth); total > after.Counters.Of(quota.CountBoth) {
			h.forgot = max(h.forgot, total-after.Counters.Of(quota.CountBoth))
		}
	}
	for i, p := range h.peers {
		passed := minus(last[i].came, first[i].came)
		over := !p.peer.ExpiresAt.IsZero() && !p.peer.ExpiresAt.After(h.started)
		if (p.closed || over) && passed != (quota.Counters{}) {
			errs = append(errs, fmt.Errorf("%v has passed of %s, which is closed", passed, p.peer.Name))
		}
	}
	h.total = last
	return errors.Join(errs...)
}

// judgeLog checks the usage log after a life: a node that has started has written what it had.
func (h *harness) judgeLog(started bool, now map[recordID]string) error {
	logged, err := h.logged()
	if err != nil || logged == nil && !started {
		return err
	}
	var errs []error
	for _, o := range h.owners() {
		var low quota.Counters
		if _, ok := h.before[usageID(o.subject)]; ok && (started || now[usageID(o.subject)] == "") {
			before, err := usageOf(h.before, usageID(o.subject))
			if err != nil {
				return err
			}
			low = before.Counters
		}
		if high := o.sum(h.total).sent; !within(low, logged[o.name], high) {
			errs = append(errs, fmt.Errorf("the usage log has %v of %s, want %v to %v", logged[o.name], o.name, low, high))
		}
	}
	return errors.Join(errs...)
}

// judgeKey checks that the node's key is the last that was acknowledged, or the one that was being made.
func (h *harness) judgeKey(now map[recordID]string) error {
	key, err := keyfile.Read(state.KeyFile(h.program.state))
	if err != nil {
		return err
	}
	if h.asker.key != "" {
		h.key = h.asker.key
	}
	public := key.PublicKey().String()
	if public != h.key && !h.asker.rotating {
		return fmt.Errorf("the key file has the key of %s, and %s was the last", public, h.key)
	}
	if record := now[recordID{wgnode.RecordNode, "private-key"}]; !strings.Contains(record, public) {
		return fmt.Errorf("the state has %s, and the file the key of %s", record, public)
	}
	h.key, h.asker.key, h.asker.rotating = public, "", false
	return nil
}

// judgeBackup checks the last backup that was made in a life.
func (h *harness) judgeBackup() error {
	path := h.asker.backup
	if path == "" {
		return nil
	}
	h.asker.backup = ""
	if _, err := h.program.must("state", "check", path); err != nil {
		return err
	}
	copied, err := records(path)
	if err != nil {
		return err
	}
	return compare(copied, h.made, h.peers[h.expiring], nil)
}
