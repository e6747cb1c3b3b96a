package htb

// Parent returns the group that a leaf of the kernel's is under; 0 for one under the root, and for none. Who adopts leaves of
// an earlier process finds their groups with it.
func (t *Tree) Parent(c Class) Class {
	t.turn <- struct{}{}
	defer t.leave()
	if s := t.pool.get(c); s != nil && s.parent != rootClass {
		return s.parent
	}
	return 0
}
