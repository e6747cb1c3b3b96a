package kernel

// BringGuests is bringGuests for tests that do not wait for the watchers.
func (dp *Dataplane) BringGuests() ([]string, error) {
	dp.turn <- struct{}{}
	defer dp.leave()
	return dp.bringGuests()
}

// GuestsIntact is guestsIntact.
func (dp *Dataplane) GuestsIntact() (bool, error) {
	dp.turn <- struct{}{}
	defer dp.leave()
	return dp.guestsIntact()
}
