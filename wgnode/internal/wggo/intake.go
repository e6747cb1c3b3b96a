package wggo

// intake is one of a device's readers, which brings messages into it: of its one goroutine.
type intake struct {
	f    *flight
	d    direction
	over func() bool // nobody reads any more
	met  bool        // it has been lent buffers
	n    int         // how many of them may have set off since, and have others in their places
}

func (f *flight) newIntake(d direction, over func() bool) *intake {
	return &intake{f: f, d: d, over: over}
}

// before sees which buffers the device lends, and waits until there is room.
func (i *intake) before(bufs [][]byte) {
	if i.f.limit == 0 {
		return
	}
	if !i.met {
		i.met, i.n = true, len(bufs)
	}
	for _, buf := range bufs[:i.n] {
		if l := i.f.label(buf); l == nil {
			i.f.meet(buf)
		} else {
			i.f.arrive(l) // it was not taken, or it was dropped on the way
		}
	}
	i.n = 0
	i.f.await(i.d, i.over)
}

// after sees which buffers set off: those that have something in them now.
func (i *intake) after(bufs [][]byte) {
	if i.f.limit == 0 {
		return
	}
	i.n = len(bufs)
	i.f.depart(i.d, bufs)
}
