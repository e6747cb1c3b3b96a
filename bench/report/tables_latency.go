package main

// idle takes the keys of a loaded case away, for the same path with nothing to do.
func idle() keys { return keys{keyState: "idle", keyLimit: "", keyFlow: "", keyDirection: ""} }

func latencyTables() []table {
	const p50, p99 = "p50-us", "p99-us"
	order := map[string][]string{keyPath: paths(), keyFlow: {"other", "same"}}
	return []table{
		{
			title: "Round trips of an idle path, microseconds", topic: topicLatency, where: keys{keyState: "idle"},
			rows: []string{keyPath}, order: order,
			columns: []column{
				{"p50", figure{unit: p50}},
				{"more than bare", figure{unit: p50, op: more, base: keys{keyPath: "bare"}}},
				{"p99", figure{unit: p99}},
				{"more than bare", figure{unit: p99, op: more, base: keys{keyPath: "bare"}}},
				{"most", figure{unit: "max-us"}},
				{"lost %", figure{unit: "loss-%"}},
			},
		},
		{
			title: "Round trips while a peer is at its limit, microseconds", topic: topicLatency, where: keys{keyState: "load"},
			rows: []string{keyPath, keyFlow, keyLimit, keyDirection}, order: order,
			columns: []column{
				{"p50", figure{unit: p50}},
				{"more than idle", figure{unit: p50, op: more, base: idle()}},
				{"p99", figure{unit: p99}},
				{"more than idle", figure{unit: p99, op: more, base: idle()}},
				{"most", figure{unit: "max-us"}},
				{"lost %", figure{unit: "loss-%"}},
				{"load Mbit/s", figure{unit: "Mbit/s"}},
			},
			note: "same: of another flow of that peer; other: of another peer with the same limit.",
		},
	}
}

func latencyAims() (all []aim) {
	const most, mostSame = 1000, 10_000 // microseconds
	for _, path := range []string{"userspace", "kernel"} {
		loaded := keys{keyState: "load", keyPath: path}
		more := figure{unit: "p50-us", op: more, base: idle()}
		other, same := more, more
		other.keys = loaded.with(keys{keyFlow: "other"})
		same.keys = loaded.with(keys{keyFlow: "same", keyLimit: "10M"})
		all = append(all,
			aim{
				about: path + ", round trip of another peer, more than idle", topic: topicLatency, figure: other,
				each: []string{keyLimit, keyDirection}, bound: below(most, "us"),
			},
			aim{
				about: path + ", round trip of the same peer at 10 Mbit/s, more than idle", topic: topicLatency, figure: same,
				each: []string{keyDirection}, bound: below(mostSame, "us"),
			})
	}
	return all
}
