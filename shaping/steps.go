package shaping

import "fmt"

// Op is what a [Step] does to its class.
type Op int

// What a step can do.
const (
	OpAdd    Op = iota + 1 // make a class that is not there
	OpChange               // give a class other parameters, where it is
	OpMove                 // put a leaf under another parent and give it its parameters there
	OpRemove               // remove a class that has no children
)

// String returns "add", "change", "move" or "remove".
func (o Op) String() string {
	switch o {
	case OpAdd:
		return "add"
	case OpChange:
		return "change"
	case OpMove:
		return "move"
	case OpRemove:
		return "remove"
	}
	return fmt.Sprintf("Op(%d)", int(o))
}

// Step is one change on the way from one hierarchy to another.
type Step struct {
	Op Op
	// Class is the class as it is to be; for OpRemove as it was.
	Class Class
	// From is the group that a leaf leaves by OpMove, empty for the root. The kernel's HTB cannot re-parent a class (a
	// replace with another parent succeeds and changes nothing), so its executor makes another class and redirects to it.
	From string
}

// String describes the step for a log: "move leaf "a" from group "x": 20mbit".
func (s Step) String() string {
	text := fmt.Sprintf("%v %v", s.Op, s.Class.Kind)
	if s.Class.Kind != KindRoot {
		text += fmt.Sprintf(" %q", s.Class.ID)
	}
	if s.Op == OpMove {
		text += fmt.Sprintf(" from %q to %q", s.From, s.Class.Group)
	}
	if s.Op != OpRemove {
		text += fmt.Sprintf(": %v", s.Class.Limit)
	}
	return text
}

// Steps returns what turns one valid hierarchy into another, in an order that holds at each step:
//
//   - a class's parent is there before it and leaves after it, and what goes makes room before what comes;
//   - no leaf is ever faster than before the first step or after the last, whichever is faster: limits that fall (at any
//     level) do so before those that rise, so that handing a limit from an account to its peers opens no unshaped moment.
//
// Equal hierarchies need no step. The way from the zero Hierarchy begins with a root that is there, unlimited.
func (p *Planner) Steps(from, to Hierarchy) []Step {
	old := make(map[key]Class)
	for _, c := range p.Classes(from) {
		old[c.key()] = c
	}
	// One list for each stage, in the order in which they are run.
	var leave, fall, addGroups, addLeaves, rise, leaveGroups []Step
	for _, c := range p.Classes(to) {
		was, ok := old[c.key()]
		delete(old, c.key())
		switch {
		case !ok && c.Kind == KindGroup:
			addGroups = append(addGroups, Step{Op: OpAdd, Class: c})
		case !ok:
			addLeaves = append(addLeaves, Step{Op: OpAdd, Class: c})
		case was.Group != c.Group:
			addLeaves = append(addLeaves, Step{Op: OpMove, Class: c, From: was.Group})
		case was == c:
		case c.Params.Ceil < was.Params.Ceil:
			fall = append(fall, Step{Op: OpChange, Class: c})
		default:
			rise = append(rise, Step{Op: OpChange, Class: c})
		}
	}
	for _, c := range p.Classes(from) {
		if _, gone := old[c.key()]; !gone {
			continue
		}
		if c.Kind == KindLeaf {
			leave = append(leave, Step{Op: OpRemove, Class: c})
		} else {
			leaveGroups = append(leaveGroups, Step{Op: OpRemove, Class: c})
		}
	}
	steps := leave
	for _, stage := range [][]Step{fall, addGroups, addLeaves, rise, leaveGroups} {
		steps = append(steps, stage...)
	}
	return steps
}
