// Package quota limits how much data a subject may move: in all, per day, week or month of a calendar, or in a rolling
// window. It says exactly when enough is enough, and not one byte passes beyond.
//
// It has two halves, which know nothing of each other:
//
//   - A [Ledger] holds the policy, a [Cap], and what was used. It is pure: it is told the time and the counters, and answers
//     with events, a [Budget], and the time at which to be told again. It marshals as JSON.
//   - A [Meter] stands on the packet path. It counts packets and holds them to a [Budget], with atomic operations alone.
//
// Neither starts a goroutine, reads the environment or needs a privilege, and there is nothing to close.
//
//	ledger, err := quota.NewLedger(quota.Cap{
//		Bytes:  100 * quota.GiB,
//		Period: quota.Period{Kind: quota.Monthly, TimeZone: "Europe/Berlin"},
//	}, time.Now(), quota.Counters{})
//	if err != nil {
//		return err
//	}
//	reached := make(chan struct{}, 1)
//	meter := quota.NewMeter(quota.Counters{}, ledger.Budget(), func(quota.Crossing) {
//		select {
//		case reached <- struct{}{}:
//		default: // somebody is about to look already
//		}
//	})
//
//	// for each packet:
//	if meter.Take(quota.Download, len(packet)) == quota.Refuse {
//		drop(packet)
//	}
//
//	// when reached receives, at ledger.Next(), and now and then to save the state:
//	now, counters := time.Now(), meter.Counters()
//	if meter.Blocked() {
//		ledger.Deplete(now, counters, ledger.Budget())
//	}
//	for _, event := range ledger.Advance(now, counters) {
//		log.Println(event)
//	}
//	meter.SetBudget(ledger.Budget())
//
// # What is counted
//
// Inner IP bytes: the whole IP packet as it enters or leaves the tunnel, headers included, once it was let through. What
// WireGuard adds to it on the wire, about 60 bytes a packet, is not counted, nor are packets that were refused.
//
// # Absolute budgets
//
// Counters only grow; they do not start again with a period. A budget's limit is a value of the counter, computed by the
// ledger as what the counter was plus what was left. So it does not matter how much passes while a budget is on its way
// to the meter, setting it twice is setting it once, and a new period is no more than a higher limit. Whoever keeps the
// counters and the ledger together over a restart, and gives [NewMeter] the counters, needs to do nothing else.
//
// # At the end
//
// With [Block], a packet passes if all of it fits under the limit. The first that does not is refused, and then all are,
// in both directions, whichever count, until there is more to use: a blocked subject moves nothing. So a few bytes may
// remain; never is there one too many. [Ledger.Deplete] tells the ledger that this has happened. With [Throttle], packets
// pass and are counted on, and [Exceeded] says that they are to be slow; to slow them is the caller's part.
//
// # Periods
//
// [Period] says when calendar periods begin in the presence of short months, leap years and clocks that change. Time zones
// are those of package time: from the system, or from the program itself if it imports time/tzdata, which this package
// leaves to it. A ledger with a calendar period in a zone other than UTC holds the rules of the zone, some KB, and shares
// them only with its clones.
//
// A rolling window of length W is kept in 60 steps of W/60. Bytes leave it at the end of a step, between W and W + W/60
// after the ledger saw them, never before W; and it sees them at most W/60 late if Advance is called when [Ledger.Next]
// asks. So no window of length W ever holds more than the cap (and what was topped up), and what was used comes free
// after at most W + W/30. A ledger holds at most 61 steps.
package quota
