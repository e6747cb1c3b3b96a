package htb

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// modelSlot is what a slow and obvious pool would keep.
type modelSlot struct {
	parent         Class
	claimed, group bool
	ready          bool
}

// poolMachine holds a pool to a model: a map, searched from end to end.
type poolMachine struct {
	pool  *pool
	model map[Class]*modelSlot
	most  int
}

func newPoolMachine(t *rapid.T) *poolMachine {
	most := rapid.IntRange(1, 12).Draw(t, "most")
	return &poolMachine{pool: newPool(most), model: make(map[Class]*modelSlot), most: most}
}

func (m *poolMachine) classes(is func(*modelSlot, Class) bool) (found []Class) {
	for c, s := range m.model {
		if is(s, c) {
			found = append(found, c)
		}
	}
	slices.Sort(found)
	return found
}

func (m *poolMachine) leaves(c Class) int {
	return len(m.classes(func(s *modelSlot, _ Class) bool { return s.parent == c }))
}

func (m *poolMachine) freeLeaves(parent Class) []Class {
	return m.classes(func(s *modelSlot, c Class) bool { return !s.claimed && s.parent == parent && m.leaves(c) == 0 })
}

// took checks what was handed out for a parent against what was free, and takes it over.
func (m *poolMachine) took(t *rapid.T, s *slot, parent Class, free []Class) {
	if s == nil {
		require.Empty(t, free, "there was one to claim")
		require.Len(t, m.model, m.most, "there were class ids")
		return
	}
	if len(free) > 0 {
		require.Contains(t, free, s.class)
		if slices.ContainsFunc(free, func(c Class) bool { return m.model[c].ready }) {
			require.True(t, m.model[s.class].ready, "ready ones come first")
		}
	} else {
		require.NotContains(t, m.model, s.class, "a new one")
		require.Less(t, len(m.model), m.most)
		require.False(t, s.ready)
		m.model[s.class] = &modelSlot{parent: parent}
	}
	require.Equal(t, parent, s.parent)
	m.model[s.class].claimed = true
}

func (m *poolMachine) ClaimLeaf(t *rapid.T) {
	groups := append([]Class{0}, m.classes(func(s *modelSlot, _ Class) bool { return s.claimed && s.group })...)
	group := rapid.SampledFrom(groups).Draw(t, "group")
	parent := group
	if group == 0 {
		parent = rootClass
	}
	free := m.freeLeaves(parent)
	m.took(t, m.pool.claimLeaf(group), parent, free)
}

func (m *poolMachine) ClaimGroup(t *rapid.T) {
	leaves := rapid.IntRange(0, 4).Draw(t, "leaves")
	bundles := m.classes(func(s *modelSlot, c Class) bool { return !s.claimed && s.parent == rootClass && m.leaves(c) > 0 })
	free := m.freeLeaves(rootClass)
	s := m.pool.claimGroup(leaves)
	if len(bundles) == 0 {
		m.took(t, s, rootClass, free)
	} else {
		require.Contains(t, bundles, s.class)
		for _, b := range bundles {
			n, got := m.leaves(b), m.leaves(s.class)
			require.False(t, got < leaves && n > got, "more leaves were to be had")
			require.False(t, got >= leaves && n >= max(leaves, 1) && n < got, "fewer leaves were enough")
		}
		m.model[s.class].claimed = true
	}
	if s != nil {
		m.model[s.class].group = true
	}
}

func (m *poolMachine) Release(t *rapid.T) {
	claimed := m.classes(func(s *modelSlot, c Class) bool {
		return s.claimed && !slices.ContainsFunc(m.classes(func(s *modelSlot, _ Class) bool { return s.claimed && s.parent == c }),
			func(Class) bool { return true })
	})
	if len(claimed) == 0 {
		t.Skip("none is claimed")
	}
	c := rapid.SampledFrom(claimed).Draw(t, "class")
	m.pool.release(m.pool.get(c))
	m.model[c].claimed, m.model[c].group = false, false
}

func (m *poolMachine) Adopt(t *rapid.T) {
	c := Class(rapid.IntRange(0, m.most+3).Draw(t, "class"))
	group := Class(rapid.IntRange(0, m.most+3).Draw(t, "group"))
	asGroup := rapid.Bool().Draw(t, "as a group")
	if asGroup {
		group = 0
	}
	s, parent := m.model[c], group
	if group == 0 {
		parent = rootClass
	}
	g := m.model[group]
	want := s != nil && !s.claimed && s.parent == parent && (group == 0 || g != nil && g.claimed && g.group) &&
		(asGroup || m.leaves(c) == 0)
	require.Equal(t, want, m.pool.adopt(c, group, asGroup))
	if want {
		s.claimed, s.group = true, asGroup
	}
}

func (m *poolMachine) SetReady(t *rapid.T) {
	all := m.classes(func(*modelSlot, Class) bool { return true })
	if len(all) == 0 {
		t.Skip("no slots")
	}
	c := rapid.SampledFrom(all).Draw(t, "class")
	m.model[c].ready = rapid.Bool().Draw(t, "ready")
	m.pool.setReady(c, m.model[c].ready)
}

func (m *poolMachine) Evict(t *rapid.T) {
	free := m.classes(func(s *modelSlot, c Class) bool { return !s.claimed && m.leaves(c) == 0 })
	s := m.pool.victim()
	if s == nil {
		require.Empty(t, free)
		return
	}
	require.Contains(t, free, s.class)
	delete(m.model, s.class)
	m.pool.forget(s)
}

func (m *poolMachine) Grow(t *rapid.T) {
	short := m.pool.short(rapid.IntRange(0, 5).Draw(t, "reserve"))
	for range short {
		s := m.pool.grow()
		require.NotNil(t, s, "what it is short of can be made")
		require.False(t, s.ready)
		if m.model[s.class] == nil {
			m.model[s.class] = &modelSlot{parent: rootClass}
		}
		m.model[s.class].ready = true
		m.pool.setReady(s.class, true)
	}
}

func (m *poolMachine) BarAndUnbar(t *rapid.T) {
	c := Class(rapid.IntRange(2, m.most+3).Draw(t, "class"))
	if _, barred := m.pool.barred[c]; barred {
		m.pool.unbar(c)
	} else if m.model[c] == nil {
		m.pool.bar(c)
	}
}

func (m *poolMachine) Check(t *rapid.T) {
	p := m.pool
	require.Equal(t, len(m.model), p.size)
	require.LessOrEqual(t, p.size, m.most)
	claims := 0
	for c, want := range m.model {
		s := p.get(c)
		require.NotNil(t, s)
		require.Equal(t, want.parent, s.parent)
		require.Equal(t, want.claimed, s.claimed)
		require.Equal(t, want.ready, s.ready)
		require.Equal(t, m.leaves(c), s.leaves)
		require.Len(t, s.below, s.leaves)
		require.Equal(t, want.group || s.leaves > 0, s.group)
		require.Len(t, m.classes(func(s *modelSlot, _ Class) bool { return s.claimed && s.parent == c }), s.claimedLeaves)
		require.Equal(t, want.claimed, s.in == nil, "a free slot is in a list")
		require.NotContains(t, p.barred, c)
		if want.claimed {
			claims++
		}
		if want.parent != rootClass {
			require.Equal(t, rootClass, m.model[want.parent].parent, "two levels")
			require.False(t, want.claimed && !m.model[want.parent].claimed, "a leaf is claimed with its group")
		}
	}
	require.Equal(t, claims, p.claims)
	ready := 0
	for _, c := range m.freeLeaves(rootClass) {
		if m.model[c].ready {
			ready++
		}
	}
	require.Equal(t, ready, p.readyLeaves())
}

func TestPool(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := newPoolMachine(t)
		t.Repeat(rapid.StateMachineActions(m))
	})
}

func TestPoolHasAllClasses(t *testing.T) {
	p := newPool(MaxClasses)
	seen := make(map[Class]bool)
	for range MaxClasses {
		s := p.claimLeaf(0)
		require.NotNil(t, s)
		require.False(t, seen[s.class])
		require.True(t, s.class >= firstClass && s.class <= lastClass)
		seen[s.class] = true
	}
	require.Nil(t, p.claimLeaf(0))
	require.Nil(t, p.claimGroup(1))
	require.Nil(t, p.victim())
	require.Zero(t, p.short(10))
	p.release(p.get(777))
	require.EqualValues(t, 777, p.claimGroup(3).class)
	require.Equal(t, "1:2a", Class(42).String())
}
