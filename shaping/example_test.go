package shaping_test

import (
	"encoding/json"
	"fmt"
	"sync"

	"github.com/waylume/waylume/shaping"
)

func ExampleParseRate() {
	for _, text := range []string{"20mbit", "1.5 Gbit/s", "2MBps", "unlimited", "20 parsecs"} {
		rate, err := shaping.ParseRate(text)
		if err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Println(rate, uint64(rate))
	}
	// Output:
	// 20mbit 20000000
	// 1.5gbit 1500000000
	// 16mbit 16000000
	// unlimited 0
	// shaping: not a rate: "20 parsecs"; write a number and a unit, such as 20mbit, 1.5gbit, 500kbit, or "unlimited"
}

func ExampleLimit() {
	var limit shaping.Limit
	if err := json.Unmarshal([]byte(`{"download": "20mbit", "upload": "5mbit"}`), &limit); err != nil {
		fmt.Println(err)
	}
	fmt.Println(limit)
	// Output: 20mbit down, 5mbit up
}

// Two peers of an account share 50 Mbit/s; one of them has no more than 20.
func ExampleScheduler() {
	var sent sync.WaitGroup
	s, err := shaping.NewScheduler(shaping.Config{
		Output: func(packets []*shaping.Packet) {
			for _, p := range packets {
				fmt.Printf("%s", p.Data) // to the network
				p.Free()
				sent.Done()
			}
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	s.Start()
	defer s.Close()

	if err := s.SetGroup("acme", 50_000_000); err != nil {
		fmt.Println(err)
	}
	alice, err := s.SetLeaf("alice", "acme", 20_000_000)
	if err != nil {
		fmt.Println(err)
		return
	}
	if _, err := s.SetLeaf("bob", "acme", shaping.Unlimited); err != nil {
		fmt.Println(err)
	}

	for _, text := range []string{"one ", "two ", "three\n"} {
		sent.Add(1)
		p := s.NewPacket(len(text))
		copy(p.Data, text)
		alice.Enqueue(p)
	}
	sent.Wait()
	fmt.Println(alice.Stats().SentPackets, "packets")
	// Output:
	// one two three
	// 3 packets
}

// The account's limit is handed to its peer: what becomes tighter does so first, so that at no step is there no limit.
func ExamplePlanner_Steps() {
	planner, err := shaping.NewPlanner(1420, shaping.Tuning{})
	if err != nil {
		fmt.Println(err)
		return
	}
	from := shaping.Hierarchy{
		Groups: map[string]shaping.Rate{"acme": 20_000_000, "gone": 1_000_000},
		Leaves: map[string]shaping.LeafSpec{"alice": {Group: "acme"}, "bob": {Group: "gone"}},
	}
	to := shaping.Hierarchy{
		Groups: map[string]shaping.Rate{"acme": shaping.Unlimited},
		Leaves: map[string]shaping.LeafSpec{"alice": {Group: "acme", Rate: 20_000_000}},
	}
	for _, step := range planner.Steps(from, to) {
		fmt.Println(step)
	}
	// Output:
	// remove leaf "bob"
	// change leaf "alice": 20mbit
	// change group "acme": unlimited
	// remove group "gone"
}
