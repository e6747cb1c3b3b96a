package shapedtun

import (
	"errors"
	"sync"

	"github.com/waylume/waylume/shaping"
)

// Leaf is a peer, with a queue for each direction.
type Leaf struct {
	download, upload *shaping.Leaf
}

// Download returns the counters of packets towards the peer.
func (l *Leaf) Download() shaping.LeafStats { return l.download.Stats() }

// Upload returns the counters of packets from the peer.
func (l *Leaf) Upload() shaping.LeafStats { return l.upload.Stats() }

// limits keeps the hierarchies of both directions alike.
type limits struct {
	mu     sync.Mutex
	leaves map[string]*Leaf
}

// SetRoot sets the ceiling for all leaves together, from the next packet on. Errors are those of [shaping.Scheduler.SetRoot];
// nothing has changed then.
func (d *Device) SetRoot(limit shaping.Limit) error {
	if err := limit.Validate(); err != nil {
		return err
	}
	d.limits.mu.Lock()
	defer d.limits.mu.Unlock()
	return errors.Join(d.download.SetRoot(limit.Download), d.upload.SetRoot(limit.Upload))
}

// SetGroup makes a group, or changes the ceiling that its leaves share. Errors are those of [shaping.Scheduler.SetGroup];
// nothing has changed then.
func (d *Device) SetGroup(id string, limit shaping.Limit) error {
	if err := limit.Validate(); err != nil {
		return err
	}
	d.limits.mu.Lock()
	defer d.limits.mu.Unlock()
	if err := d.download.SetGroup(id, limit.Download); err != nil {
		return err
	}
	return d.upload.SetGroup(id, limit.Upload)
}

// RemoveGroup removes a group that has no leaves. Errors are those of [shaping.Scheduler.RemoveGroup].
func (d *Device) RemoveGroup(id string) error {
	d.limits.mu.Lock()
	defer d.limits.mu.Unlock()
	if err := d.download.RemoveGroup(id); err != nil {
		return err
	}
	return d.upload.RemoveGroup(id)
}

// SetLeaf makes a leaf in a group, or directly under the root for group "", or changes the one that is there in place. Errors
// are those of [shaping.Scheduler.SetLeaf]; nothing has changed then.
func (d *Device) SetLeaf(id, group string, limit shaping.Limit) (*Leaf, error) {
	if err := limit.Validate(); err != nil {
		return nil, err
	}
	d.limits.mu.Lock()
	defer d.limits.mu.Unlock()
	download, err := d.download.SetLeaf(id, group, limit.Download)
	if err != nil {
		return nil, err
	}
	upload, err := d.upload.SetLeaf(id, group, limit.Upload)
	if err != nil {
		return nil, err
	}
	l, ok := d.limits.leaves[id]
	if !ok {
		l = &Leaf{download: download, upload: upload}
		if d.limits.leaves == nil {
			d.limits.leaves = make(map[string]*Leaf)
		}
		d.limits.leaves[id] = l
	}
	return l, nil
}

// RemoveLeaf removes a leaf and drops what it has queued. What is classified to it from then on is dropped too.
func (d *Device) RemoveLeaf(id string) {
	d.limits.mu.Lock()
	defer d.limits.mu.Unlock()
	d.download.RemoveLeaf(id)
	d.upload.RemoveLeaf(id)
	delete(d.limits.leaves, id)
}
