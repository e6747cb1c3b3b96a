package shaping

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// Hierarchy is what is to be shaped in one direction: a ceiling for all, groups (accounts) that share one each, and leaves
// (peers), each in a group or directly under the root. The zero value is an unlimited root with nothing below it.
type Hierarchy struct {
	Root   Rate
	Groups map[string]Rate
	Leaves map[string]LeafSpec
}

// LeafSpec is a leaf's place and limit.
type LeafSpec struct {
	// Group is empty for a leaf directly under the root.
	Group string
	Rate  Rate
}

// Validate returns one error that names everything wrong: rates out of range, empty names, leaves of groups that are not
// there. It matches [ErrRateRange], [ErrName] and [ErrNoGroup] accordingly.
func (h Hierarchy) Validate() error {
	var errs []error
	note := func(what string, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", what, err))
		}
	}
	note("root", h.Root.Validate())
	for _, id := range slices.Sorted(maps.Keys(h.Groups)) {
		note(fmt.Sprintf("group %q", id), checkName(id))
		note(fmt.Sprintf("group %q", id), h.Groups[id].Validate())
	}
	for _, id := range slices.Sorted(maps.Keys(h.Leaves)) {
		leaf, what := h.Leaves[id], fmt.Sprintf("leaf %q", id)
		note(what, checkName(id))
		note(what, leaf.Rate.Validate())
		if _, ok := h.Groups[leaf.Group]; !ok && leaf.Group != "" {
			note(what, noGroup(leaf.Group))
		}
	}
	return errors.Join(errs...)
}

func checkName(id string) error {
	if id == "" {
		return ErrName
	}
	return nil
}

func noGroup(id string) error {
	return fmt.Errorf("%w: %q; set the group before its leaves", ErrNoGroup, id)
}

// Kind tells the levels of a hierarchy apart.
type Kind int

// The levels, from the top.
const (
	KindRoot  Kind = iota // the one class above all
	KindGroup             // an account
	KindLeaf              // a peer
)

// String returns "root", "group" or "leaf".
func (k Kind) String() string {
	switch k {
	case KindRoot:
		return "root"
	case KindGroup:
		return "group"
	case KindLeaf:
		return "leaf"
	}
	return fmt.Sprintf("Kind(%d)", int(k))
}

// Class is one class of a hierarchy, with all that an executor must know to make it.
type Class struct {
	Kind Kind
	// ID is empty for the root.
	ID string
	// Group is the group of a leaf, empty for a leaf directly under the root.
	Group string
	// Limit is the class's own limit as it was asked for.
	Limit  Rate
	Params Params
}

// key names a class across hierarchies.
type key struct {
	kind Kind
	id   string
}

func (c Class) key() key { return key{c.Kind, c.ID} }

// Classes returns all classes of a valid hierarchy, parents before children and names in order.
func (p *Planner) Classes(h Hierarchy) []Class {
	classes := make([]Class, 0, 1+len(h.Groups)+len(h.Leaves))
	classes = append(classes, Class{Kind: KindRoot, Limit: h.Root, Params: p.Root(h.Root)})
	for id, rate := range h.Groups {
		classes = append(classes, Class{Kind: KindGroup, ID: id, Limit: rate, Params: p.Group(rate)})
	}
	for id, leaf := range h.Leaves {
		params := p.Leaf(leaf.Rate, h.Groups[leaf.Group], h.Root)
		classes = append(classes, Class{Kind: KindLeaf, ID: id, Group: leaf.Group, Limit: leaf.Rate, Params: params})
	}
	slices.SortFunc(classes, func(a, b Class) int { return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.ID, b.ID)) })
	return classes
}
