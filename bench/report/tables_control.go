package main

// shellOf is what a shell takes for the same beside as many others.
func shellOf(what string) figure {
	return figure{
		unit: what, op: times, baseTopic: topicPeer,
		base: keys{keyDataplane: "", keyBy: "shell"},
	}
}

func controlTables() []table {
	return []table{
		{
			title: "A node with a state on the disk: one peer beside others, ms", topic: topicControl,
			rows: []string{keyDataplane, keyPeers}, columns: []column{
				{"add", figure{unit: "add-ms"}}, {"p99", figure{unit: "add-p99-ms"}}, {"shell / it", shellOf("add-ms")},
				{"change", figure{unit: "change-ms"}}, {"p99", figure{unit: "change-p99-ms"}}, {"shell / it", shellOf("change-ms")},
				{"remove", figure{unit: "remove-ms"}}, {"p99", figure{unit: "remove-p99-ms"}}, {"shell / it", shellOf("remove-ms")},
			},
			note: "Each waits until the disk has it.",
		},
		{
			title: "That node as a whole, ms", topic: topicControl, rows: []string{keyDataplane, keyPeers},
			columns: []column{
				{"start", figure{unit: "start-ms"}}, {"no-op reconcile", figure{unit: "sync-ms"}}, {"status of all", figure{unit: "stats-ms"}},
			},
		},
	}
}

func controlAims() (all []aim) {
	const reconcile, status, faster = 500, 100, 50 // milliseconds, and times
	for _, dataplane := range []string{"userspace", "kernel"} {
		of := func(about, unit string, most float64) aim {
			return aim{
				about: dataplane + ", " + about, topic: topicControl, bound: below(most, "ms"),
				figure: figure{unit: unit, keys: keys{keyDataplane: dataplane, keyPeers: "10000"}},
			}
		}
		all = append(all, of("a reconcile of 10,000 peers that finds nothing", "sync-ms", reconcile),
			of("status of 10,000 peers", "stats-ms", status))
	}
	for _, what := range []string{"add", "change", "remove"} {
		all = append(all, aim{
			about: what + " a peer beside 10,000: a shell / the kernel dataplane", topic: topicPeer, bound: atLeast(faster),
			figure: figure{unit: what + "-ms", keys: keys{keyBy: "kernel", keyPeers: "10000"}, op: times, base: keys{keyBy: "shell"}},
		})
	}
	return all
}
