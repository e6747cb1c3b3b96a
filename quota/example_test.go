package quota_test

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/waylume/waylume/quota"
)

// A meter alone: it needs no ledger, clock or configuration.
func ExampleMeter() {
	budget := quota.Budget{Limited: true, Limit: 3000, Mark: 2000}
	meter := quota.NewMeter(quota.Counters{}, budget, func(c quota.Crossing) {
		fmt.Println("reached", c.Counter, "depleted:", c.Depleted)
	})
	for range 3 {
		fmt.Println(meter.Take(quota.Download, 1400))
	}
	fmt.Println(meter.Counters().Download, "bytes passed")
	meter.SetBudget(quota.Budget{Limited: true, Limit: 5000})
	fmt.Println(meter.Take(quota.Download, 1400))
	// Output:
	// pass
	// reached 2800 depleted: false
	// pass
	// reached 2800 depleted: true
	// refuse
	// 2800 bytes passed
	// pass
}

// A ledger is told the time and the counters, and says what follows.
func ExampleLedger() {
	now := time.Date(2026, 3, 28, 12, 0, 0, 0, time.UTC)
	ledger, err := quota.NewLedger(quota.Cap{
		Bytes:  5 * quota.GiB,
		Period: quota.Period{Kind: quota.Daily, TimeZone: "Europe/Berlin"},
	}, now, quota.Counters{})
	if err != nil {
		fmt.Println(err)
		return
	}
	counters := quota.Counters{Download: 4 << 30, Upload: 1 << 30}
	for _, event := range ledger.Advance(now, counters) {
		fmt.Println(event)
	}
	fmt.Println("next period:", ledger.Next())
	for _, event := range ledger.Advance(ledger.Next(), counters) {
		fmt.Println(event)
	}
	fmt.Println("next period:", ledger.Next())
	fmt.Printf("%+v\n", ledger.Budget())
	// Output:
	// 80% reached: 5GiB of 5GiB, used up
	// 100% reached: 5GiB of 5GiB, used up
	// depleted: 5GiB of 5GiB, used up
	// next period: 2026-03-28 23:00:00 +0000 UTC
	// period started after 1: 5GiB of 5GiB, used up before
	// next period: 2026-03-29 22:00:00 +0000 UTC
	// {Limit:10737418240 Mark:9663676416 Limited:true Counted:both AtEnd:block}
}

func ExampleCap_Validate() {
	fmt.Println(quota.Cap{
		Period:     quota.Period{Kind: quota.Monthly, TimeZone: "Middle/Earth", Day: 32},
		Thresholds: []int{50, 120},
	}.Validate())
	// Output:
	// quota: Thresholds[1]: 120 is no percentage of the cap: use 1 to 100
	// quota: Period.Day: 32 is no day of a month: use 1 to 31, or 0 for the first
	// quota: Period.TimeZone: "Middle/Earth" is not known here: use a name such as Europe/Berlin or UTC, and see that the system has time zone data or the program imports time/tzdata
}

func ExampleCap_json() {
	var limit quota.Cap
	err := json.Unmarshal([]byte(`{"bytes": "1.5TiB", "period": {"kind": "rolling", "window": "720h"}}`), &limit)
	fmt.Println(limit.Bytes, limit.Period.Kind, limit.Period.Window, err)
	// Output: 1.5TiB rolling 720h0m0s <nil>
}

func ExampleParseBytes() {
	for _, text := range []string{"5GiB", "5 GB", "1536", "5G"} {
		b, err := quota.ParseBytes(text)
		fmt.Println(uint64(b), b, err)
	}
	// Output:
	// 5368709120 5GiB <nil>
	// 5000000000 5GB <nil>
	// 1536 1.5KiB <nil>
	// 0 0B quota: not an amount of data: "5G"; write a number and a unit, such as 5GiB, 1.5TiB, 500MB or 1024
}
