package shaping

import (
	"errors"
	"fmt"
	"maps"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

var rates = []Rate{Unlimited, MinRate, 100e3, 1e6, 10e6, 100e6, 1e9, 100e9, MaxRate}

func drawRate() *rapid.Generator[Rate] {
	return rapid.OneOf(rapid.SampledFrom(rates), rapid.Custom(func(t *rapid.T) Rate {
		return Rate(rapid.Uint64Range(uint64(MinRate), uint64(MaxRate)).Draw(t, "bit/s"))
	}))
}

func drawHierarchy() *rapid.Generator[Hierarchy] {
	return rapid.Custom(func(t *rapid.T) Hierarchy {
		h := Hierarchy{
			Root:   drawRate().Draw(t, "root"),
			Groups: rapid.MapOfN(rapid.SampledFrom([]string{"a", "b", "c", "d"}), drawRate(), 0, 4).Draw(t, "groups"),
		}
		groups := []string{""}
		for id := range maps.Keys(h.Groups) {
			groups = append(groups, id)
		}
		// Maps have no order of their own and a drawn value must not depend on one.
		h.Leaves = rapid.MapOfN(rapid.SampledFrom([]string{"1", "2", "3", "4", "5", "6"}), rapid.Custom(func(t *rapid.T) LeafSpec {
			spec := LeafSpec{Rate: drawRate().Draw(t, "rate"), Group: rapid.SampledFrom([]string{"", "a", "b", "c", "d"}).Draw(t, "group")}
			if _, ok := h.Groups[spec.Group]; !ok {
				spec.Group = ""
			}
			return spec
		}), 0, 6).Draw(t, "leaves")
		return h
	})
}

func newPlanner(t require.TestingT) *Planner {
	p, err := NewPlanner(0, Tuning{})
	require.NoError(t, err)
	return p
}

// strictHTB does what a kernel does and no more: it refuses what is out of order.
type strictHTB map[key]Class

func (m strictHTB) apply(s Step) error {
	c := s.Class
	was, there := m[c.key()]
	if c.Kind == KindLeaf && s.Op != OpRemove && c.Group != "" {
		if _, ok := m[key{KindGroup, c.Group}]; !ok {
			return errors.New("no parent")
		}
	}
	switch s.Op {
	case OpAdd:
		if there {
			return errors.New("exists")
		}
	case OpChange:
		if !there || was.Group != c.Group {
			return errors.New("not there, or a move in disguise")
		}
		if was == c {
			return errors.New("changes nothing")
		}
	case OpMove:
		if !there || was.Group != s.From || s.From == c.Group {
			return errors.New("not where it is said to be")
		}
	case OpRemove:
		if !there || c.Kind == KindRoot {
			return errors.New("not there")
		}
		for _, other := range m {
			if c.Kind == KindGroup && other.Kind == KindLeaf && other.Group == c.ID {
				return errors.New("has children")
			}
		}
		delete(m, c.key())
		return nil
	default:
		return errors.New("no such operation")
	}
	m[c.key()] = c
	return nil
}

// speed is what a leaf can have.
func (m strictHTB) speed(id string) (Rate, bool) {
	leaf, ok := m[key{KindLeaf, id}]
	if !ok {
		return 0, false
	}
	r := min(leaf.Params.Ceil, m[key{KindRoot, ""}].Params.Ceil)
	if leaf.Group != "" {
		r = min(r, m[key{KindGroup, leaf.Group}].Params.Ceil)
	}
	return r, true
}

func htbOf(p *Planner, h Hierarchy) strictHTB {
	m := make(strictHTB)
	for _, c := range p.Classes(h) {
		m[c.key()] = c
	}
	return m
}

func TestSteps(t *testing.T) {
	p := newPlanner(t)
	rapid.Check(t, func(t *rapid.T) {
		from, to := drawHierarchy().Draw(t, "from"), drawHierarchy().Draw(t, "to")
		require.NoError(t, from.Validate())
		before, after, now := htbOf(p, from), htbOf(p, to), htbOf(p, from)
		for i, step := range p.Steps(from, to) {
			require.NoError(t, now.apply(step), "step %d: %v", i, step)
			for id := range now {
				speed, ok := now.speed(id.id)
				if !ok || id.kind != KindLeaf {
					continue
				}
				was, _ := before.speed(id.id)
				will, _ := after.speed(id.id)
				require.LessOrEqual(t, speed, max(was, will), "leaf %q is unshaped for a moment after step %d: %v", id.id, i, step)
			}
		}
		require.Equal(t, after, now)
		require.Empty(t, p.Steps(to, to))
	})
}

func TestSchedulerAppliesSteps(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, err := NewScheduler(Config{Output: func([]*Packet) {}})
		require.NoError(t, err)
		defer s.Close()
		var h Hierarchy
		for range rapid.IntRange(1, 4).Draw(t, "rounds") {
			to := drawHierarchy().Draw(t, "to")
			for _, step := range s.Planner().Steps(h, to) {
				require.NoError(t, s.Apply(step))
				require.NoError(t, s.Apply(step), "again")
			}
			got := s.Hierarchy()
			require.Empty(t, s.Planner().Steps(got, to))
			require.Len(t, got.Groups, len(to.Groups))
			require.Len(t, got.Leaves, len(to.Leaves))
			h = to
		}
	})
}

func TestParams(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		mtu := rapid.IntRange(576, 65535).Draw(t, "mtu")
		p, err := NewPlanner(mtu, Tuning{})
		require.NoError(t, err)
		leaf, group, root := drawRate().Draw(t, "leaf"), drawRate().Draw(t, "group"), drawRate().Draw(t, "root")
		l, g, r := p.Leaf(leaf, group, root), p.Group(group), p.Root(root)
		for _, params := range []Params{l, g, r} {
			require.GreaterOrEqual(t, params.Quantum, 1000)
			require.LessOrEqual(t, params.Quantum, 200_000)
			require.LessOrEqual(t, params.Rate, params.Ceil)
			require.NotZero(t, params.Rate)
			require.LessOrEqual(t, params.Ceil, MaxRate)
			require.GreaterOrEqual(t, params.Cburst, 2*mtu)
			require.LessOrEqual(t, params.Cburst, maxBurst)
			require.GreaterOrEqual(t, params.Burst, 2*mtu)
		}
		require.Equal(t, r.Ceil, r.Rate, "the root lends what it has")
		require.Equal(t, l.Quantum, g.Quantum, "siblings share equally")
		require.GreaterOrEqual(t, l.QueueBytes, minQueuePackets*mtu)
		require.LessOrEqual(t, l.QueueBytes, max(maxQueue, minQueuePackets*mtu))
		// The userspace executor keeps a bound for each level and takes the least.
		require.Equal(t, min(p.queueBytes(l.Ceil), p.queueBytes(g.Ceil), p.queueBytes(r.Ceil)), l.QueueBytes)
		slot := max(p.slot(l.Ceil), p.slot(g.Ceil), p.slot(r.Ceil))
		target, interval := p.codel(slot)
		require.Equal(t, target, l.Target)
		require.Equal(t, interval, l.Interval)
		require.GreaterOrEqual(t, l.Target, slot)
		require.GreaterOrEqual(t, l.Interval, 2*l.Target)
	})
}

func TestHierarchyValidateNamesAll(t *testing.T) {
	err := Hierarchy{
		Root:   1,
		Groups: map[string]Rate{"": 1e6, "slow": 2},
		Leaves: map[string]LeafSpec{"": {}, "lost": {Group: "gone"}, "fast": {Rate: MaxRate + 1}},
	}.Validate()
	for _, want := range []error{ErrRateRange, ErrName, ErrNoGroup} {
		require.ErrorIs(t, err, want)
	}
	for _, want := range []string{"root", `group ""`, `group "slow"`, `leaf ""`, `leaf "lost"`, `"gone"`, `leaf "fast"`} {
		require.ErrorContains(t, err, want)
	}
}

func TestConfigNamesAll(t *testing.T) {
	_, err := NewScheduler(Config{MTU: 1, Headroom: -1, Memory: 5, Tuning: Tuning{Burst: -1, Queue: 1e12, Interval: 1e12, Target: 1e13}})
	require.ErrorIs(t, err, ErrConfig)
	for _, want := range []string{"MTU", "Output", "Headroom", "Memory", "Burst", "Queue", "Interval", "Target"} {
		require.ErrorContains(t, err, want)
	}
}

func TestNamesOfEnums(t *testing.T) {
	for op, want := range map[Op]string{OpAdd: "add", OpChange: "change", OpMove: "move", OpRemove: "remove", 9: "Op(9)"} {
		require.Equal(t, want, fmt.Sprint(op))
	}
	for kind, want := range map[Kind]string{KindRoot: "root", KindGroup: "group", KindLeaf: "leaf", 9: "Kind(9)"} {
		require.Equal(t, want, fmt.Sprint(kind))
	}
	step := Step{Op: OpMove, From: "a", Class: Class{Kind: KindLeaf, ID: "1", Group: "b", Limit: 20e6}}
	require.Equal(t, `move leaf "1" from "a" to "b": 20mbit`, step.String())
}
