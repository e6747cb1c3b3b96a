package quota

// Budget is what an executor enforces of a cap. Limit and Mark are absolute values of the counter that Counted names, not
// amounts left, so that a budget means the same whenever it reaches the executor, however much passed meanwhile. Budgets
// are comparable: equal ones are in force alike. The zero Budget refuses nothing and reports nothing.
type Budget struct {
	// Limit is the value that the counter may reach and not pass, or with Throttle the one beyond which packets are
	// slow. At Limit the budget is depleted.
	Limit uint64
	// Mark is a value at which the executor reports that the counter reached it; 0 for none.
	Mark uint64
	// Limited is false when there is no cap; then Limit and AtEnd mean nothing.
	Limited bool
	// Counted names the counter.
	Counted Counted
	// AtEnd is what happens at Limit.
	AtEnd Action
}

// Roomier reports whether b lets packets pass that old, used up, would not. Ledger and every executor must agree on it: it is what
// ends the state in which a subject is cut off with less left than a packet.
func (b Budget) Roomier(old Budget) bool {
	return !b.Limited || !old.Limited || b.AtEnd != Block || b.Counted != old.Counted || b.Limit > old.Limit
}
